"""The page with the SQLAlchemy ORM, which begins a transaction by itself; over both drivers."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    contains_eager,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
)
from sqlalchemy.pool import NullPool

from tests.applications.pages.shop import CATEGORY, EMAIL, PRODUCT
from tests.applications.pages.stack import Opener, Page, Stack
from tests.drivers.shop import Place


class Base(DeclarativeBase):
    pass


class Category(Base):
    __tablename__ = "category"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Product(Base):
    __tablename__ = "product"
    id: Mapped[int] = mapped_column(primary_key=True)
    category_id: Mapped[int] = mapped_column(sa.ForeignKey("category.id"))
    name: Mapped[str]
    price: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2))
    stock: Mapped[int]
    added: Mapped[datetime.datetime] = mapped_column(sa.DateTime(timezone=True))
    details: Mapped[Any] = mapped_column(JSONB)
    category: Mapped[Category] = relationship()
    reviews: Mapped[list[Review]] = relationship(back_populates="product", order_by="Review.id")


class Customer(Base):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]


class Review(Base):
    __tablename__ = "review"
    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(sa.ForeignKey("product.id"))
    customer_id: Mapped[int] = mapped_column(sa.ForeignKey("customer.id"))
    stars: Mapped[int]
    body: Mapped[str]
    product: Mapped[Product] = relationship(back_populates="reviews")
    customer: Mapped[Customer] = relationship()


class Line(Base):
    __tablename__ = "line"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(sa.ForeignKey("customer.id"))
    product_id: Mapped[int] = mapped_column(sa.ForeignKey("product.id"))
    quantity: Mapped[int]
    product: Mapped[Product] = relationship()


class Visit(Base):
    __tablename__ = "visit"
    customer_id: Mapped[int] = mapped_column(sa.ForeignKey("customer.id"), primary_key=True)
    pages: Mapped[int]


def show(session: Session, write: bool) -> list[object]:
    """Twenty reads, and one write if asked for; the caller ends the transaction."""
    found: list[object] = []

    def rows(statement: Any) -> None:
        found.append([tuple(row) for row in session.execute(statement)])

    customer = session.scalars(sa.select(Customer).where(Customer.email == EMAIL)).one()
    visit = session.get_one(Visit, customer.id)
    found += [customer.name, visit.pages]
    found.append([c.name for c in session.scalars(sa.select(Category).order_by(Category.name))])
    rows(sa.select(Category.id, Category.name).where(Category.id == CATEGORY))
    of_category = sa.select(Product).where(Product.category_id == CATEGORY)
    found.append(session.scalar(sa.select(sa.func.count()).select_from(of_category.subquery())))
    # Two statements: the products, and their reviews by an IN list.
    listed = of_category.order_by(Product.name, Product.id).limit(5).offset(5)
    for each in session.scalars(listed.options(selectinload(Product.reviews))):
        found.append((each.name, each.price, [(r.stars, r.body) for r in each.reviews]))
    product = session.scalars(
        sa.select(Product).where(Product.id == PRODUCT).options(joinedload(Product.category))
    ).one()
    found += [product.name, product.category.name, product.details, product.added]
    found.append([r.body for r in product.reviews])  # loaded as it is touched
    rows(sa.select(sa.func.avg(Review.stars), sa.func.count()).where(Review.product_id == PRODUCT))
    newest = (
        sa.select(Review)
        .where(Review.product_id == PRODUCT)
        .options(joinedload(Review.customer))
        .order_by(Review.id.desc())
        .limit(5)
    )
    found.append([(r.stars, r.customer.name) for r in session.scalars(newest)])
    mine = sa.exists().where(Review.product_id == PRODUCT, Review.customer_id == customer.id)
    found.append(session.scalar(sa.select(mine)))
    basket = sa.select(Line).join(Line.product).where(Line.customer_id == customer.id)
    lines = session.scalars(basket.options(contains_eager(Line.product)).order_by(Line.id))
    found.append([(line.quantity, line.product.name) for line in lines])
    found.append(
        session.scalar(
            sa.select(sa.func.sum(Line.quantity * Product.price))
            .join(Line.product)
            .where(Line.customer_id == customer.id)
        )
    )
    count = sa.select(sa.func.count()).select_from(Line).where(Line.customer_id == customer.id)
    found.append(session.scalar(count))
    rows(sa.select(sa.func.min(Product.price)).where(Product.category_id == CATEGORY))
    rows(
        sa.select(Category.name, sa.func.count(Product.id))
        .outerjoin(Product, Product.category_id == Category.id)
        .group_by(Category.id)
        .order_by(Category.name)
    )
    other = of_category.where(Product.id != PRODUCT).order_by(Product.id).limit(4)
    found.append([p.name for p in session.scalars(other)])
    rows(sa.select(Product.id).where(Product.name.icontains("DUCT 1")).order_by(Product.id))
    rows(sa.select(Product.name, Product.added).order_by(Product.added.desc()).limit(5))
    if write:
        visit.pages = Visit.pages + 1
    return found


def _url(place: Place, driver: str) -> str:
    return f"postgresql+{driver}://{place.user}@{place.host}:{place.port}/{place.database}"


def _psycopg(**options: Any) -> Opener:
    @contextmanager
    def opened(place: Place) -> Iterator[Page]:
        engine = sa.create_engine(_url(place, "psycopg"), **options)

        def page(write: bool) -> object:
            with Session(engine) as session:
                found = show(session, write)
                if write:
                    session.commit()
                return found  # else the pool rolls back

        yield page
        engine.dispose()

    return opened


def _asyncpg(**options: Any) -> Opener:
    @contextmanager
    def opened(place: Place) -> Iterator[Page]:
        engine = create_async_engine(_url(place, "asyncpg"), **options)

        async def page(write: bool) -> object:
            async with AsyncSession(engine) as session:
                found = await session.run_sync(show, write)
                if write:
                    await session.commit()
                return found

        with asyncio.Runner() as runner:
            yield lambda write: runner.run(page(write))
            runner.run(engine.dispose())

    return opened


def _both(name: str, title: str, **options: Any) -> tuple[Stack, Stack]:
    return (
        Stack(f"sqlalchemy_psycopg{name}", f"SQLAlchemy, psycopg{title}", _psycopg(**options)),
        Stack(f"sqlalchemy_asyncpg{name}", f"SQLAlchemy, asyncpg{title}", _asyncpg(**options)),
    )


STACKS: tuple[Stack, ...] = (
    *_both("", ""),
    *_both("_ping", ", `pool_pre_ping`", pool_pre_ping=True),
    *_both("_request", ", `NullPool`", poolclass=NullPool),
    *_both("_autocommit", ", `AUTOCOMMIT`", isolation_level="AUTOCOMMIT"),
    Stack(
        "sqlalchemy_asyncpg_uncached",
        "SQLAlchemy, asyncpg, `prepared_statement_cache_size=0`",
        _asyncpg(connect_args={"prepared_statement_cache_size": 0}),
    ),
)
