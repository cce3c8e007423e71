"""The admin of the store: search, filters, dates, inlines, actions."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count

from tests.applications.store.models import Author, Book, Genre, Line, Order, Publisher


@admin.register(Publisher)
class PublisherAdmin(admin.ModelAdmin):  # type: ignore[misc]
    list_display = ("name", "country", "number_of_books")
    list_filter = ("country",)
    search_fields = ("name",)

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).annotate(number=Count("books"))

    @admin.display(ordering="number")
    def number_of_books(self, publisher: Any) -> int:
        return int(publisher.number)


@admin.register(Author)
class AuthorAdmin(admin.ModelAdmin):  # type: ignore[misc]
    search_fields = ("name",)


@admin.register(Genre)
class GenreAdmin(admin.ModelAdmin):  # type: ignore[misc]
    search_fields = ("name",)


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):  # type: ignore[misc]
    list_display = ("title", "publisher", "price", "published", "in_print")
    list_filter = ("in_print", "publisher__country", "genres", "published")
    list_editable = ("price",)
    list_select_related = ("publisher",)
    list_per_page = 20
    search_fields = ("title", "authors__name", "publisher__name")
    date_hierarchy = "published"
    filter_horizontal = ("authors", "genres")


class LineInline(admin.TabularInline):  # type: ignore[misc]
    model = Line
    autocomplete_fields = ("book",)
    extra = 1


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):  # type: ignore[misc]
    list_display = ("id", "customer", "placed", "paid")
    list_filter = ("paid", ("customer", admin.RelatedOnlyFieldListFilter))
    date_hierarchy = "placed"
    raw_id_fields = ("customer",)
    inlines = (LineInline,)
