"""The shop's tables as models."""

from __future__ import annotations

from django.db import models


class Category(models.Model):  # type: ignore[misc]
    id = models.IntegerField(primary_key=True)
    name = models.TextField()

    class Meta:
        app_label = "front"
        managed = False
        db_table = "category"


class Product(models.Model):  # type: ignore[misc]
    id = models.IntegerField(primary_key=True)
    category = models.ForeignKey(Category, models.DO_NOTHING, related_name="products")
    name = models.TextField()
    price = models.DecimalField(max_digits=10, decimal_places=2)
    stock = models.IntegerField()
    added = models.DateTimeField()
    details = models.JSONField()

    class Meta:
        app_label = "front"
        managed = False
        db_table = "product"


class Customer(models.Model):  # type: ignore[misc]
    id = models.IntegerField(primary_key=True)
    name = models.TextField()
    email = models.TextField(unique=True)

    class Meta:
        app_label = "front"
        managed = False
        db_table = "customer"


class Review(models.Model):  # type: ignore[misc]
    id = models.IntegerField(primary_key=True)
    product = models.ForeignKey(Product, models.DO_NOTHING, related_name="reviews")
    customer = models.ForeignKey(Customer, models.DO_NOTHING)
    stars = models.IntegerField()
    body = models.TextField()

    class Meta:
        app_label = "front"
        managed = False
        db_table = "review"


class Line(models.Model):  # type: ignore[misc]
    id = models.IntegerField(primary_key=True)
    customer = models.ForeignKey(Customer, models.DO_NOTHING, related_name="lines")
    product = models.ForeignKey(Product, models.DO_NOTHING)
    quantity = models.IntegerField()

    class Meta:
        app_label = "front"
        managed = False
        db_table = "line"


class Visit(models.Model):  # type: ignore[misc]
    customer = models.OneToOneField(Customer, models.DO_NOTHING, primary_key=True)
    pages = models.IntegerField()

    class Meta:
        app_label = "front"
        managed = False
        db_table = "visit"
