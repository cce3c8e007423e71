"""A Django project with its admin, used through the test client as a person would.

Run as `python -m tests.applications.django_admin HOST PORT DATABASE WHAT`, where WHAT is `create`
(tables and rows), `plain`, `atomic` (ATOMIC_REQUESTS), or `cursorless`
(DISABLE_SERVER_SIDE_CURSORS). A process of its own, since Django is configured once per process.
"""

from __future__ import annotations

import datetime
import sys
from typing import Any

import django
from django.conf import settings
from django.urls import path


class Urls:
    """The URL configuration; the admin can be imported only after `django.setup`."""

    @property
    def urlpatterns(self) -> list[Any]:
        from django.contrib import admin

        return [path("admin/", admin.site.urls)]


def configure(host: str, port: str, database: str, what: str) -> None:
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": host,
                "PORT": port,
                "NAME": database,
                "USER": "postgres",
                "ATOMIC_REQUESTS": what == "atomic",
                "DISABLE_SERVER_SIDE_CURSORS": what == "cursorless",
                "CONN_MAX_AGE": 60,
                "OPTIONS": {"sslmode": "disable"},
            }
        },
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "tests.applications.store",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF=Urls(),
        ALLOWED_HOSTS=["testserver"],
        SECRET_KEY="a key for tests only",
        STATIC_URL="static/",
        USE_TZ=True,
        TIME_ZONE="Europe/Berlin",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()


def create() -> None:
    """All tables, three users, and enough rows for two pages."""
    from django.contrib.auth.models import Group, User
    from django.core.management import call_command

    from tests.applications.store.models import Author, Book, Genre, Line, Order, Publisher

    call_command("migrate", verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)  # the store has no migrations
    User.objects.create_superuser("admin", "admin@example.com", "secret")
    clerk = User.objects.create_user("clerk", password="secret", is_staff=True)
    clerk.groups.add(Group.objects.create(name="clerks"))
    publishers = [
        Publisher.objects.create(name=f"publisher {i}", country=f"country {i % 3}")
        for i in range(6)
    ]
    authors = [Author.objects.create(name=f"author {i}") for i in range(10)]
    genres = [Genre.objects.create(name=f"genre {i}") for i in range(4)]
    books = []
    for i in range(45):
        book = Book.objects.create(
            title=f"book {i}",
            publisher=publishers[i % 6],
            price=5 + i,
            published=datetime.date(2020 + i % 4, 1 + i % 12, 1 + i % 28),
            in_print=i % 5 != 0,
        )
        book.authors.add(authors[i % 10], authors[(i + 3) % 10])
        book.genres.add(genres[i % 4])
        books.append(book)
    for i in range(12):
        placed = datetime.datetime(2024, 1 + i, 3, 12, tzinfo=datetime.UTC)
        order = Order.objects.create(customer=clerk, placed=placed, paid=i % 2 == 0)
        for j in range(3):
            Line.objects.create(order=order, book=books[(3 * i + j) % 45], quantity=1 + j)


class Person:
    """Somebody at a browser; every page must be there."""

    def __init__(self, name: str) -> None:
        from django.test import Client

        self.client = Client()
        page = {"username": name, "password": "secret", "next": "/admin/"}
        self.sees("/admin/login/")
        self.sends("/admin/login/?next=/admin/", page)

    def sees(self, place: str, **query: str) -> Any:
        answer = self.client.get(place, query)
        assert answer.status_code == 200, (place, query, answer.status_code)
        return answer

    def sends(self, place: str, form: dict[str, Any]) -> Any:
        answer = self.client.post(place, form)
        wrong = answer.context and [e for f in answer.context if "errors" in f for e in f["errors"]]
        assert answer.status_code == 302, (place, answer.status_code, wrong)
        return self.client.get(answer["Location"])


def browse(person: Person) -> None:
    """Lists with search, filters, pages and dates; forms and histories."""
    person.sees("/admin/")
    books = "/admin/store/book/"
    person.sees(books)
    person.sees(books, p="2")
    person.sees(books, o="3.-1")
    person.sees(books, q="book 1")
    person.sees(books, q="author 3")
    person.sees(books, in_print__exact="1")
    person.sees(books, publisher__country="country 1", genres__id__exact="2")
    person.sees(books, published__year="2021")
    person.sees(books, published__year="2021", published__month="2")
    person.sees(books, published__gte="2022-01-01", published__lt="2023-01-01")
    person.sees("/admin/store/publisher/")
    person.sees("/admin/store/publisher/", country="country 2", o="3")
    person.sees("/admin/store/author/", q="author")
    person.sees("/admin/store/order/")
    person.sees("/admin/store/order/", paid__exact="0", placed__year="2024")
    person.sees(books + "add/")
    person.sees(books + "3/change/")
    person.sees(books + "3/history/")
    person.sees(books + "3/delete/")
    person.sees("/admin/store/order/2/change/")
    person.sees("/admin/auth/user/")
    person.sees("/admin/auth/user/", q="clerk", is_staff__exact="1")
    person.sees("/admin/auth/user/2/change/")
    person.sees("/admin/auth/group/1/change/")
    autocomplete = {"app_label": "store", "model_name": "line", "field_name": "book"}
    person.sees("/admin/autocomplete/", term="book 2", **autocomplete)


def edit(person: Person) -> None:
    """Add, change and delete, and look at what came of it."""
    from tests.applications.store.models import Book, Genre

    form = {
        "title": "a new book",
        "publisher": "2",
        "authors": ["1", "2"],
        "genres": ["1"],
        "price": "12.50",
        "published": "2024-05-06",
        "in_print": "on",
        "extra": "{}",
        "_save": "Save",
    }
    person.sends("/admin/store/book/add/", form)
    book = Book.objects.get(title="a new book")
    changed = {**form, "title": "a changed book", "authors": ["3"], "_continue": "Save"}
    person.sends(f"/admin/store/book/{book.pk}/change/", changed)
    person.sees(f"/admin/store/book/{book.pk}/history/")
    marked = {"action": "delete_selected", "_selected_action": [str(book.pk)], "index": "0"}
    assert person.client.post("/admin/store/book/", marked).status_code == 200
    person.sends("/admin/store/book/", {**marked, "post": "yes"})
    person.sends("/admin/store/genre/add/", {"name": "fresh", "_save": "Save"})
    genre = Genre.objects.get(name="fresh")
    person.sends(f"/admin/store/genre/{genre.pk}/delete/", {"post": "yes"})
    lines = {"lines-TOTAL_FORMS": "1", "lines-INITIAL_FORMS": "0", "lines-MIN_NUM_FORMS": "0"}
    order = {"placed_0": "2024-02-03", "placed_1": "10:00", "customer": "2", **lines}
    line = {"lines-0-book": "5", "lines-0-quantity": "2", "lines-MAX_NUM_FORMS": "1000"}
    person.sends("/admin/store/order/add/", {**order, **line, "_save": "Save"})


def run() -> None:
    from django.db import connection

    admin = Person("admin")
    browse(admin)
    edit(admin)
    browse(admin)
    admin.client.post("/admin/logout/")
    connection.close()


if __name__ == "__main__":
    host, port, database, what = sys.argv[1:]
    configure(host, port, database, what)
    create() if what == "create" else run()
