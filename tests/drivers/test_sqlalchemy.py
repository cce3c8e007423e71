"""SQLAlchemy 2 through Howdah, with psycopg and with asyncpg."""

from __future__ import annotations

import asyncio
import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from tests.drivers.shop import Place, compare
from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(
        back_populates="author", order_by="Book.id", passive_deletes=True
    )


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("author.id", ondelete="CASCADE"))
    title: Mapped[str]
    price: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2))
    printed: Mapped[datetime.datetime] = mapped_column(sa.DateTime(timezone=True))
    author: Mapped[Author] = relationship(back_populates="books")


PRINTED = datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)


def _books() -> list[Author]:
    return [
        Author(
            id=i,
            name=f"author {i}",
            books=[
                Book(id=3 * i + j, title=f"book {i}.{j}", price=Decimal(i * j), printed=PRINTED)
                for j in range(1, 4)
            ],
        )
        for i in range(1, 6)
    ]


def _queries() -> list[Any]:
    return [
        sa.select(Book.title, Author.name).join(Author).order_by(Book.id),
        sa.select(Author.name, sa.func.sum(Book.price))
        .join(Book)
        .group_by(Author.name)
        .order_by(Author.name),
        sa.select(Book.title)
        .where(Book.price.between(2, 4), Book.title.like("book%"))
        .order_by(Book.id),
        sa.select(Book.printed).where(Book.id == 7),
        sa.select(sa.func.count()).select_from(Book),
        sa.select(Author.name).where(Author.books.any(Book.price > 10)).order_by(Author.id),
    ]


def tables(place: Place) -> None:
    engine = sa.create_engine(
        f"postgresql+psycopg://{place.user}@{place.host}:{place.port}/{place.database}"
    )
    Base.metadata.create_all(engine)
    engine.dispose()


def with_psycopg(place: Place) -> list[Any]:
    engine = sa.create_engine(
        f"postgresql+psycopg://{place.user}@{place.host}:{place.port}/{place.database}",
        pool_pre_ping=True,
    )
    found: list[Any] = []
    with Session(engine) as session:
        session.execute(sa.delete(Author))
        session.add_all(_books())
        session.commit()
    for _ in range(3):
        with Session(engine) as session:
            found += [[tuple(row) for row in session.execute(q)] for q in _queries()]
            author = session.get_one(Author, 2)
            found.append([book.title for book in author.books])
    with Session(engine) as session:
        book = session.get_one(Book, 7)
        book.title = "renamed"
        session.flush()
        found.append(session.scalar(sa.select(Book.title).where(Book.id == 7)))
        session.rollback()
        found.append(session.scalar(sa.select(Book.title).where(Book.id == 7)))
        session.get_one(Book, 7).title = "renamed for good"
        session.commit()
        found.append(session.scalar(sa.select(Book.title).where(Book.id == 7)))
        session.delete(session.get_one(Author, 1))
        session.commit()
        found.append(session.scalars(sa.select(Book.title).order_by(Book.id)).all())
        with session.begin_nested():
            session.execute(sa.update(Book).values(price=1))
        session.commit()
        found.append(session.scalar(sa.select(sa.func.sum(Book.price))))
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        found.append(connection.scalar(sa.select(sa.func.count()).select_from(Book)))
    with engine.connect().execution_options(stream_results=True) as connection:
        found.append(len(connection.execute(sa.select(Book.id)).all()))
    engine.dispose()
    return found


async def _with_asyncpg(place: Place) -> list[Any]:
    engine = create_async_engine(
        f"postgresql+asyncpg://{place.user}@{place.host}:{place.port}/{place.database}",
        pool_pre_ping=True,
    )
    found: list[Any] = []
    async with AsyncSession(engine) as session:
        await session.execute(sa.delete(Author))
        session.add_all(_books())
        await session.commit()
    for _ in range(3):
        async with AsyncSession(engine) as session:
            found += [[tuple(row) for row in await session.execute(q)] for q in _queries()]
    async with AsyncSession(engine) as session:
        book = await session.get_one(Book, 7)
        book.title = "renamed"
        await session.commit()
        found.append(await session.scalar(sa.select(Book.title).where(Book.id == 7)))
        await session.execute(sa.delete(Author).where(Author.id == 1))
        await session.commit()
        found.append((await session.scalars(sa.select(Book.title).order_by(Book.id))).all())
    await engine.dispose()
    return found


def with_asyncpg(place: Place) -> list[Any]:
    return asyncio.run(_with_asyncpg(place))


def test_with_psycopg(howdah: Howdah, postgres: PostgresServer) -> None:
    compare(howdah, postgres, with_psycopg, prepare=tables)


def test_with_asyncpg(howdah: Howdah, postgres: PostgresServer) -> None:
    compare(howdah, postgres, with_asyncpg, prepare=tables)
