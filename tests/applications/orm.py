"""A program with the SQLAlchemy ORM, over psycopg and over asyncpg: the same queries.

What lives here: models (relationships, inheritance, hybrids), the queries, one run per driver.
What must not: what is expected of them.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterator
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    joinedload,
    lazyload,
    mapped_column,
    relationship,
    selectin_polymorphic,
    selectinload,
    subqueryload,
    with_polymorphic,
)

from tests.drivers.shop import Place


class Base(DeclarativeBase):
    pass


tagged = sa.Table(
    "tagged",
    Base.metadata,
    sa.Column("article_id", sa.ForeignKey("article.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("tag_id", sa.ForeignKey("tag.id", ondelete="CASCADE"), primary_key=True),
)


class Person(Base):
    """The root of joined-table inheritance."""

    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    first: Mapped[str]
    last: Mapped[str]
    articles: Mapped[list[Article]] = relationship(back_populates="author", order_by="Article.id")
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}

    @hybrid_property
    def full(self) -> str:
        return self.first + " " + self.last


class Editor(Person):
    __tablename__ = "editor"
    id: Mapped[int] = mapped_column(sa.ForeignKey("person.id"), primary_key=True)
    desk: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "editor"}


class Reader(Person):
    __tablename__ = "reader"
    id: Mapped[int] = mapped_column(sa.ForeignKey("person.id"), primary_key=True)
    since: Mapped[datetime.date]
    __mapper_args__ = {"polymorphic_identity": "reader"}


class Article(Base):
    __tablename__ = "article"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("person.id"))
    title: Mapped[str]
    price: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2))
    printed: Mapped[datetime.datetime] = mapped_column(sa.DateTime(timezone=True))
    author: Mapped[Person] = relationship(back_populates="articles")
    comments: Mapped[list[Comment]] = relationship(
        order_by="Comment.id", cascade="all, delete-orphan"
    )
    tags: Mapped[list[Tag]] = relationship(secondary=tagged, order_by="Tag.name")


class Comment(Base):
    """Single-table inheritance: praise and complaints."""

    __tablename__ = "comment"
    id: Mapped[int] = mapped_column(primary_key=True)
    article_id: Mapped[int] = mapped_column(sa.ForeignKey("article.id", ondelete="CASCADE"))
    kind: Mapped[str]
    body: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "praise"}


class Complaint(Comment):
    __mapper_args__ = {"polymorphic_identity": "complaint"}


class Tag(Base):
    __tablename__ = "tag"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


def url(place: Place, driver: str) -> str:
    return f"postgresql+{driver}://{place.user}@{place.host}:{place.port}/{place.database}"


def create(place: Place) -> None:
    """Tables and rows, directly."""
    engine = sa.create_engine(url(place, "psycopg"))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        tags = [Tag(name=f"tag {i}") for i in range(4)]
        people: list[Person] = [
            Editor(first=f"first {i}", last=f"last {i}", desk=f"desk {i}") for i in range(3)
        ]
        people += [
            Reader(first=f"f {i}", last=f"l {i}", since=datetime.date(2020, 1, 1 + i))
            for i in range(5)
        ]
        for i in range(40):
            article = Article(
                title=f"article {i}",
                price=Decimal(i) / 4,
                printed=datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
                + datetime.timedelta(days=i),
                tags=[tags[i % 4], tags[(i + 1) % 4]],
            )
            article.comments = [
                (Complaint if j % 2 else Comment)(body=f"{i}.{j}") for j in range(i % 4)
            ]
            people[i % 8].articles.append(article)
        session.add_all(people)
        session.commit()
    engine.dispose()


def queries() -> Iterator[sa.Executable]:
    """What lists, forms, searches and reports ask."""
    article = sa.select(Article).order_by(Article.id)
    yield article.options(joinedload(Article.author)).limit(10)
    yield article.options(selectinload(Article.comments)).limit(10).offset(10)
    yield article.options(subqueryload(Article.tags)).where(Article.price > 3)
    yield article.options(joinedload(Article.tags), selectinload(Article.comments)).where(
        Article.id == 7
    )
    people = with_polymorphic(Person, [Editor, Reader])
    yield sa.select(people).order_by(people.id)
    yield sa.select(Person).options(selectin_polymorphic(Person, [Editor, Reader]))
    yield sa.select(Editor).where(Editor.desk == "desk 1")
    yield sa.select(Complaint).where(Complaint.body.like("%.1"))
    yield sa.select(Person.full).where(Person.full == "first 1 last 1")
    yield sa.select(sa.func.count()).select_from(Article)
    yield (
        sa.select(Person.last, sa.func.count(Article.id), sa.func.sum(Article.price))
        .join(Article)
        .group_by(Person.last)
        .having(sa.func.count(Article.id) > 1)
        .order_by(sa.desc(sa.func.sum(Article.price)))
    )
    rank = sa.func.row_number().over(partition_by=Article.author_id, order_by=Article.price.desc())
    ranked = sa.select(Article.id, Article.title, rank.label("rank")).subquery()
    yield sa.select(ranked).where(ranked.c.rank <= 2).order_by(ranked.c.id)
    month = sa.func.date_trunc("month", Article.printed)
    yield sa.select(month, sa.func.avg(Article.price)).group_by(month).order_by(month)
    yield sa.select(sa.extract("year", Article.printed), sa.func.max(Article.id)).group_by(
        sa.extract("year", Article.printed)
    )
    yield article.where(Article.tags.any(Tag.name == "tag 2"), ~Article.comments.any()).limit(5)
    yield article.where(sa.func.lower(Article.title).contains("article 1"))
    yield article.where(Article.title.icontains("E 2"), Article.id.in_([2, 20, 21, 22]))
    since = datetime.datetime(2024, 1, 10, tzinfo=datetime.UTC)
    yield article.where(Article.printed >= since, Article.printed < since + datetime.timedelta(7))
    top = sa.select(Article.author_id).group_by(Article.author_id).cte("top")
    yield sa.select(Person.first).join(top, top.c.author_id == Person.id).order_by(Person.id)
    other = aliased(Article)
    newest = sa.select(sa.func.max(other.id)).where(other.author_id == Article.author_id)
    yield article.where(Article.id == newest.scalar_subquery())
    dear, cheap = article.where(Article.price > 8), article.where(Article.price < 1)
    yield sa.union_all(
        sa.select(dear.order_by(None).subquery().c.title),
        sa.select(cheap.order_by(None).subquery().c.title),
    ).order_by("title")
    yield sa.select(sa.exists().where(Article.price > 9))
    label = sa.case((Article.price > 5, "dear"), else_="cheap")
    yield sa.select(label, sa.func.count()).group_by(label).order_by(label)
    yield (
        sa.select(Person.last, sa.func.string_agg(Article.title, ", "))
        .join(Article)
        .group_by(Person.last)
    )


def with_psycopg(place: Place) -> None:
    engine = sa.create_engine(url(place, "psycopg"), pool_pre_ping=True)
    for _ in range(2):
        with Session(engine) as session:
            for query in queries():
                session.execute(query).unique().all()
        with Session(engine) as session:
            # The navigation of a page: identity look-ups and lazy loading.
            article = session.get_one(Article, 5)
            assert article.author.last
            assert all(comment.body for comment in article.comments)
            assert [tag.name for tag in article.tags]
            author = session.scalars(
                sa.select(Person).where(Person.id == 2).options(lazyload(Person.articles))
            ).one()
            assert author.articles
    with Session(engine) as session:
        article = session.get_one(Article, 6)
        article.title = "changed"
        article.comments.append(Comment(body="new"))
        session.flush()
        assert session.scalar(sa.select(Article.title).where(Article.id == 6)) == "changed"
        session.commit()
        assert session.get_one(Article, 6).title == "changed"
        session.delete(article.comments[-1])
        article.title = "article 5"
        session.commit()
    engine.dispose()


async def _with_asyncpg(place: Place) -> None:
    engine = create_async_engine(url(place, "asyncpg"), pool_pre_ping=True)
    for _ in range(2):
        async with AsyncSession(engine) as session:
            for query in queries():
                (await session.execute(query)).unique().all()
        async with AsyncSession(engine) as session:
            article = await session.get_one(Article, 5)
            await session.refresh(article, ["author", "comments", "tags"])
            assert article.author.last
            assert article.tags
    async with AsyncSession(engine) as session:
        article = await session.get_one(Article, 6)
        article.title = "changed"
        await session.commit()
        found = await session.scalar(sa.select(Article.title).where(Article.id == 6))
        assert found == "changed"
        article.title = "article 5"
        await session.commit()
    await engine.dispose()


def with_asyncpg(place: Place) -> None:
    asyncio.run(_with_asyncpg(place))
