"""A small Django program: ORM reads and writes, transactions; `create` makes its tables.

Run as `python -m tests.drivers.django_script HOST PORT DATABASE [create]`; prints its results
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
        INSTALLED_APPS=["tests.drivers.library"],
        USE_TZ=True,
        TIME_ZONE="Europe/Berlin",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()


def run() -> list[Any]:
    from django.db import connection, transaction
    from django.db.models import Avg, Count, F, Q

    from tests.drivers.library.models import Shelf, Volume

    found: list[Any] = []
    Shelf.objects.all().delete()
    for i in range(1, 4):
        shelf = Shelf.objects.create(id=i, label=f"shelf {i}")
        Volume.objects.bulk_create(
            Volume(
                id=10 * i + j, shelf=shelf, title=f"volume {i}.{j}", pages=100 * j, extra={"j": j}
            )
            for j in range(1, 6)
        )
    for _ in range(3):
        found.append(list(Shelf.objects.order_by("id").values_list("id", "label")))
        found.append(Volume.objects.filter(pages__gt=300).count())
        found.append(
            list(
                Volume.objects.filter(shelf__label="shelf 2")
                .order_by("id")
                .values_list("title", flat=True)
            )
        )
        found.append(
            list(
                Shelf.objects.annotate(n=Count("volumes"), a=Avg("volumes__pages"))
                .order_by("id")
                .values_list("label", "n", "a")
            )
        )
        found.append(
            list(
                Volume.objects.filter(Q(title__contains="3") | Q(pages=100))
                .order_by("id")
                .values_list("id", flat=True)
            )
        )
        found.append(
            [v.shelf.label for v in Volume.objects.select_related("shelf").order_by("id")[:3]]
        )
        found.append(
            [len(s.volumes.all()) for s in Shelf.objects.prefetch_related("volumes").order_by("id")]
        )
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
    connection.close()
    return found


def create() -> None:
    from django.db import connection

    from tests.drivers.library.models import Shelf, Volume

    with connection.schema_editor() as editor:
        editor.create_model(Shelf)
        editor.create_model(Volume)


if __name__ == "__main__":
    configure(*sys.argv[1:4])
    if sys.argv[4:] == ["create"]:
        create()
    json.dump(run() if len(sys.argv) == 4 else [], sys.stdout)
