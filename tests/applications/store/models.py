"""Publishers, authors, books, and orders of books."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Publisher(models.Model):  # type: ignore[misc]
    name = models.CharField(max_length=80, unique=True)
    country = models.CharField(max_length=40, db_index=True)

    class Meta:
        app_label = "store"
        ordering = ("name",)

    def __str__(self) -> str:
        return str(self.name)


class Author(models.Model):  # type: ignore[misc]
    name = models.CharField(max_length=80)
    born = models.DateField(null=True, blank=True)

    class Meta:
        app_label = "store"
        ordering = ("name",)

    def __str__(self) -> str:
        return str(self.name)


class Genre(models.Model):  # type: ignore[misc]
    name = models.CharField(max_length=40, unique=True)

    class Meta:
        app_label = "store"
        ordering = ("name",)

    def __str__(self) -> str:
        return str(self.name)


class Book(models.Model):  # type: ignore[misc]
    title = models.CharField(max_length=120)
    publisher = models.ForeignKey(Publisher, on_delete=models.CASCADE, related_name="books")
    authors = models.ManyToManyField(Author, related_name="books")
    genres = models.ManyToManyField(Genre, blank=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    published = models.DateField()
    added = models.DateTimeField(auto_now_add=True)
    in_print = models.BooleanField(default=True)
    extra = models.JSONField(default=dict, blank=True)

    class Meta:
        app_label = "store"
        ordering = ("-published", "title")

    def __str__(self) -> str:
        return str(self.title)


class Order(models.Model):  # type: ignore[misc]
    placed = models.DateTimeField()
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    paid = models.BooleanField(default=False)

    class Meta:
        app_label = "store"
        ordering = ("-placed",)


class Line(models.Model):  # type: ignore[misc]
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    book = models.ForeignKey(Book, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField(default=1)

    class Meta:
        app_label = "store"
        constraints = [models.UniqueConstraint(fields=["order", "book"], name="one_line_per_book")]
