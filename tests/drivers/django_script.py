"""A small Django program: migrations made by hand, ORM reads and writes, transactions.

Run as `python -m tests.drivers.django_script HOST PORT DATABASE`; prints its results
as JSON. A process of its own, since Django is configured once per process.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import django
from django.conf import settings


def configure(host: str, port: str, database: str) -> None:
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": host,
                "PORT": port,
                "NAME": database,
                "USER": "postgres",
                "CONN_HEALTH_CHECKS": True,
                "CONN_MAX_AGE": 60,
                "OPTIONS": {"sslmode": "disable"},
            }
        },
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
        USE_TZ=True,
        TIME_ZONE="Europe/Berlin",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()


def run() -> list[Any]:
    from django.db import connection, models, transaction
    from django.db.models import Avg, Count, F, Q

    class Shelf(models.Model):
        label = models.CharField(max_length=40)

        class Meta:
            app_label = "library"

    class Volume(models.Model):
        shelf = models.ForeignKey(Shelf, on_delete=models.CASCADE, related_name="volumes")
        title = models.CharField(max_length=80)
        pages = models.IntegerField()
        added = models.DateTimeField(null=True)
        extra = models.JSONField(default=dict)

        class Meta:
            app_label = "library"

    found: list[Any] = []
    with connection.schema_editor() as editor:
        editor.create_model(Shelf)
        editor.create_model(Volume)
    for i in range(1, 4):
        shelf = Shelf.objects.create(label=f"shelf {i}")
        Volume.objects.bulk_create(
            Volume(shelf=shelf, title=f"volume {i}.{j}", pages=100 * j, extra={"j": j})
            for j in range(1, 6)
        )
    for _ in range(3):
        found.append(list(Shelf.objects.order_by("id").values_list("id", "label")))
        found.append(Volume.objects.filter(pages__gt=300).count())
        found.append(list(Volume.objects.filter(shelf__label="shelf 2").order_by("id").values_list("title", flat=True)))
        found.append(list(Shelf.objects.annotate(n=Count("volumes"), a=Avg("volumes__pages")).order_by("id").values_list("label", "n", "a")))
        found.append(list(Volume.objects.filter(Q(title__contains="3") | Q(pages=100)).order_by("id").values_list("id", flat=True)))
        found.append([v.shelf.label for v in Volume.objects.select_related("shelf").order_by("id")[:3]])
        found.append([len(s.volumes.all()) for s in Shelf.objects.prefetch_related("volumes").order_by("id")])
        found.append(Volume.objects.filter(extra__j=2).exists())
    with transaction.atomic():
        Volume.objects.filter(pages=100).update(pages=F("pages") + 5)
        found.append(Volume.objects.filter(pages=105).count())
        try:
            with transaction.atomic():
                Volume.objects.all().delete()
                raise ValueError
        except ValueError:
            found.append(Volume.objects.count())
    found.append(Volume.objects.filter(pages=105).count())
    Shelf.objects.get(id=1).delete()
    found.append(Volume.objects.count())
    found.append([v.title for v in Volume.objects.order_by("id").iterator(chunk_size=3)])
    with transaction.atomic():
        locked = Volume.objects.select_for_update().order_by("id").first()
        assert locked is not None
        locked.title = "locked"
        locked.save()
    found.append(Volume.objects.order_by("id").values_list("title", flat=True)[0])
    connection.close_if_unusable_or_obsolete()
    found.append(Volume.objects.order_by("id").values_list("title", flat=True)[0])
    found.append(sorted(connection.introspection.table_names()))
    with connection.schema_editor() as editor:
        editor.delete_model(Volume)
        editor.delete_model(Shelf)
    connection.close()
    return found


if __name__ == "__main__":
    configure(*sys.argv[1:4])
    json.dump(run(), sys.stdout)
