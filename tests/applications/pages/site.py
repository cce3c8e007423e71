"""The page as a Django site: the stacks, and the site itself, which is a process of its own.

Run as `python -m tests.applications.pages.site HOST PORT DATABASE OPTIONS`, with OPTIONS as JSON:
settings of the database, and `sessions`, the engine of sessions where somebody is logged in. Each
line of its input, `read` or `write`, is a request, made as a WSGI server makes it; the answer is a
line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from wsgiref.util import setup_testing_defaults

from tests.applications.pages.shop import CATEGORY, CUSTOMER, EMAIL, PRODUCT
from tests.applications.pages.stack import Opener, Page, Stack
from tests.drivers.shop import Place
from tests.fix_howdah import ROOT


def _site(**options: Any) -> Opener:
    @contextmanager
    def opened(place: Place) -> Iterator[Page]:
        command = [sys.executable, "-m", "tests.applications.pages.site"]
        where = [place.host, str(place.port), place.database, json.dumps(options)]
        with subprocess.Popen(
            command + where, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            asking, answers = process.stdin, process.stdout

            def show(write: bool) -> object:
                asking.write("write\n" if write else "read\n")
                asking.flush()
                answer = answers.readline()
                assert answer, "the site has ended"
                return json.loads(answer)

            yield show
            asking.close()
            assert process.wait(20) == 0

    return opened


_POOLED = {"CONN_MAX_AGE": 60}
_CHECKED = {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
_BOUND = {"CONN_MAX_AGE": 60, "OPTIONS": {"server_side_binding": True}}

STACKS: tuple[Stack, ...] = (
    Stack("django", "Django", _site(**_POOLED)),
    Stack("django_atomic", "Django, `ATOMIC_REQUESTS`", _site(ATOMIC_REQUESTS=True, **_POOLED)),
    Stack("django_request", "Django, `CONN_MAX_AGE=0`", _site()),
    Stack(
        "django_request_atomic",
        "Django, `CONN_MAX_AGE=0`, `ATOMIC_REQUESTS`",
        _site(ATOMIC_REQUESTS=True),
    ),
    Stack(
        "django_checked",
        "Django, `CONN_HEALTH_CHECKS`, `ATOMIC_REQUESTS`",
        _site(ATOMIC_REQUESTS=True, **_CHECKED),
    ),
    Stack(
        "django_bound",
        "Django, `server_side_binding`, `ATOMIC_REQUESTS`",
        _site(ATOMIC_REQUESTS=True, **_BOUND),
    ),
    Stack(
        "django_sessions",
        "Django, `ATOMIC_REQUESTS`, logged in, sessions in the database",
        _site(ATOMIC_REQUESTS=True, sessions="db", **_POOLED),
        2,
    ),
    Stack(
        "django_cookies",
        "Django, `ATOMIC_REQUESTS`, logged in, sessions in signed cookies",
        _site(ATOMIC_REQUESTS=True, sessions="signed_cookies", **_POOLED),
        1,
    ),
)


def _configure(place: Sequence[str], options: dict[str, Any]) -> None:
    import django
    from django.conf import settings
    from django.urls import path

    host, port, database = place
    sessions = options.pop("sessions", "")
    own = {"sslmode": "disable", **options.pop("OPTIONS", {})}
    within = "django.contrib.{}.middleware.{}Middleware".format
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": host,
                "PORT": port,
                "NAME": database,
                "USER": "postgres",
                "OPTIONS": own,
                **options,
            }
        },
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "tests.applications.pages.front",
        ],
        MIDDLEWARE=(
            [within("sessions", "Session"), within("auth", "Authentication")] if sessions else []
        ),
        SESSION_ENGINE=f"django.contrib.sessions.backends.{sessions or 'db'}",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF=type("Urls", (), {"urlpatterns": [path("<str:what>/", _view)]}),
        ALLOWED_HOSTS=["127.0.0.1"],
        SECRET_KEY="a key for tests only",
        USE_TZ=True,
        TIME_ZONE="Europe/Berlin",
    )
    django.setup()


def _view(request: Any, what: str) -> Any:
    """Twenty reads, and one write if asked for."""
    from django.db.models import Avg, Count, F, Min, Sum
    from django.http import HttpResponse

    from tests.applications.pages.front.models import (
        Category,
        Customer,
        Line,
        Product,
        Review,
        Visit,
    )

    found: list[Any] = []
    if hasattr(request, "session"):
        found.append(request.user.get_username())  # reads the session and the user
    customer = Customer.objects.get(email=EMAIL)
    found += [customer.name, Visit.objects.get(customer=customer).pages]
    found.append([c.name for c in Category.objects.order_by("name")])
    category = Category.objects.get(pk=CATEGORY)
    products = category.products.order_by("name", "id")
    found.append(products.count())
    for each in products.prefetch_related("reviews")[5:10]:
        found.append([each.name, each.price, [(r.stars, r.body) for r in each.reviews.all()]])
    product = Product.objects.get(pk=PRODUCT)
    found += [product.name, product.category.name, product.details, product.added]
    found.append(product.reviews.aggregate(Avg("stars"), Count("id")))
    newest = product.reviews.select_related("customer").order_by("-id")[:5]
    found.append([(r.stars, r.customer.name) for r in newest])
    found.append(Review.objects.filter(product=product, customer=customer).exists())
    basket = Line.objects.filter(customer=customer)
    found.append([(i.quantity, i.product.name) for i in basket.select_related("product")])
    found.append(basket.aggregate(total=Sum(F("quantity") * F("product__price"))))
    found.append(basket.count())
    found.append(products.aggregate(Min("price")))
    counted = Category.objects.annotate(n=Count("products")).order_by("name")
    found.append(list(counted.values_list("name", "n")))
    found.append([p.name for p in products.exclude(pk=PRODUCT)[:4]])
    found.append(list(Product.objects.filter(name__icontains="DUCT 1").values_list("id", "name")))
    found.append(list(Product.objects.order_by("-added").values_list("name", "added")[:5]))
    if what == "write":
        Visit.objects.filter(pk=CUSTOMER).update(pages=F("pages") + 1)
    return HttpResponse(json.dumps(found, default=str))


def _log_in() -> str:
    """Tables of Django's own, a user, and the key of the user's session."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection
    from django.utils.module_loading import import_string

    if "django_session" not in connection.introspection.table_names():
        call_command("migrate", verbosity=0)
    user, _ = User.objects.get_or_create(username="somebody")
    session = import_string(f"{settings.SESSION_ENGINE}.SessionStore")()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)


def _serve() -> None:
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
    for line in sys.stdin:
        environ: dict[str, Any] = {"PATH_INFO": f"/{line.strip()}/"}
        setup_testing_defaults(environ)
        environ["HTTP_COOKIE"] = COOKIE
        response = application(environ, lambda status, headers: None)
        body = b"".join(response)
        response.close()  # ends the request: connections that are too old are closed
        assert response.status_code == 200, body
        sys.stdout.write(body.decode() + "\n")
        sys.stdout.flush()


COOKIE = ""

if __name__ == "__main__":
    given = json.loads(sys.argv[4])
    _configure(sys.argv[1:4], dict(given))
    if given.get("sessions"):
        COOKIE = f"sessionid={_log_in()}"
    _serve()
