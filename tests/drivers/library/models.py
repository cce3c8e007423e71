"""Shelves and the volumes on them."""

from __future__ import annotations

from django.db import models


class Shelf(models.Model):  # type: ignore[misc]
    label = models.CharField(max_length=40)

    class Meta:
        app_label = "library"


class Volume(models.Model):  # type: ignore[misc]
    shelf = models.ForeignKey(Shelf, on_delete=models.CASCADE, related_name="volumes")
    title = models.CharField(max_length=80)
    pages = models.IntegerField()
    added = models.DateTimeField(null=True)
    extra = models.JSONField(default=dict)

    class Meta:
        app_label = "library"
