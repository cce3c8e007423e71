"""The dashboard in a real browser, over a Howdah that answers real clients."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random

import pytest

from tests.fix_browser import DESKTOP, PHONE, Browser
from tests.fix_howdah import Howdah, check, upstream_url
from tests.fix_pg import PostgresServer
from tests.fix_wire import Wire, query

SCHEMA = (
    "CREATE TABLE item (id int PRIMARY KEY, name text, price int)",
    "INSERT INTO item SELECT n, 'item ' || n, n % 90 FROM generate_series(1, 500) n",
    "CREATE TABLE sale (id int PRIMARY KEY, item int REFERENCES item, amount int)",
    "INSERT INTO sale SELECT n, 1 + n % 500, n % 7 FROM generate_series(1, 4000) n",
    "CREATE VIEW revenue AS SELECT item, sum(amount * price) FROM sale JOIN item"
    " ON item.id = sale.item GROUP BY item",
    "CREATE TABLE visit (id int PRIMARY KEY, page int, seen int)",
    "INSERT INTO visit SELECT n, n % 50, 0 FROM generate_series(1, 20000) n",
    "GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC",
)
POINT = "SELECT name, price FROM public.item WHERE id = {}"
REPORT = "SELECT item, sum FROM revenue ORDER BY sum DESC LIMIT 10"
# A name that would be markup if the page took it for that.
EVIL = '<img src=x onerror="document.title=1">'


@dataclass
class Stand:
    """A Howdah with some history, and a client that can make more of it."""

    server: PostgresServer
    howdah: Howdah
    database: str
    client: Wire

    def url(self, section: str = "overview") -> str:
        return f"http://{self.howdah.http}/#/{section}"

    def work(self) -> None:
        """Hits, misses, bypasses, writes."""
        client = self.client
        for number in (*range(40), *range(40)):
            client.query(POINT.format(number))
        for _ in range(4):
            client.query(REPORT)
        client.query("SELECT count(*) FROM sale WHERE amount > random()")
        client.query("SELECT count(*), now() FROM item")
        client.query("SELECT id FROM item WHERE id = 3 FOR UPDATE")
        client.query("UPDATE item SET price = price + 1 WHERE id = 3")
        client.query(f'SELECT 1 AS "{EVIL.replace(chr(34), chr(34) * 2)}" FROM item LIMIT 1')


def load(howdah: Howdah, database: str, stop: threading.Event) -> None:
    """Keep Howdah busy with a table of its own, so that there is something to see."""
    random = Random(1)
    with howdah.wire(database, application_name="load") as client:
        while not stop.wait(0.004):
            page = min(49, int(random.expovariate(0.15)))
            match random.randrange(60):
                case 0:
                    client.query(f"UPDATE visit SET seen = seen + 1 WHERE id = {page}")
                case 1:
                    client.query("SELECT count(*), now() FROM visit")
                case 2 | 3:
                    client.query(f"SELECT max(seen) FROM visit WHERE id = {page} AND random() < 2")
                case _:
                    client.query(f"SELECT count(*), sum(seen) FROM visit WHERE page = {page}")


@pytest.fixture(scope="module")
def stand(postgres: PostgresServer) -> Iterator[Stand]:
    database = postgres.create_database(*SCHEMA, name="shop")
    howdah = Howdah(upstream_url(postgres))
    with ExitStack() as stack:
        stack.callback(howdah.destroy)
        howdah.start()
        client = stack.enter_context(howdah.wire(database, application_name=EVIL[:60]))
        howdah.until_hit(client)
        stand = Stand(postgres, howdah, database, client)
        stand.work()
        stop = threading.Event()
        busy = threading.Thread(target=load, args=(howdah, database, stop))
        busy.start()
        stack.callback(busy.join)
        stack.callback(stop.set)
        yield stand
        check(howdah)


def until_unsaid(browser: Browser, text: str) -> None:
    """Wait until no notice says `text`; others may stay, of another test's Howdah for one."""
    browser.until(f"!document.querySelector('#notices').innerText.includes({json.dumps(text)})")


def no_overflow(browser: Browser) -> None:
    """Nothing is wider than the screen, but for tables that scroll by themselves."""
    out = browser.run(
        "[...document.querySelectorAll('main *, header *')].filter(each =>"
        " each.getBoundingClientRect().right > document.documentElement.clientWidth + 1"
        " && !each.closest('.scroll, nav')).map(each => each.outerHTML.slice(0, 150))"
    )
    assert out == []


def test_the_overview_tells_what_happened(browser, stand):
    browser.open(stand.url())
    standing = browser.until_says("#standing", "Ready")
    assert re.search(r"Contract\s+proxied", standing)
    assert "seen within 1 min" in standing
    assert len(browser.texts(".tile")) == 8
    assert "since the start" in browser.until_says(".tile", "%")
    saved = browser.until_says("#top-saved", "FROM public.item WHERE id = $1")
    assert "calls from memory" in saved
    reasons = browser.until_says("#reasons", "volatile_function")
    assert "The statement calls a function whose result changes" in reasons
    assert "Compute the value in the application;" in reasons
    assert "clock" in reasons
    assert "locking_clause" in reasons
    assert "write" in browser.texts("#reasons details summary")[0].lower()


def test_plots_have_lines_as_samples_come(browser, stand):
    browser.open(stand.url())
    browser.until("document.querySelector('#plot-share path.line')")
    stand.work()
    browser.until("document.querySelectorAll('#plot-latency path.line[d^=M]').length === 4")
    browser.until("document.querySelector('#plot-throughput path.layer[d^=M]')")
    browser.until("document.querySelector('.tile .spark .line[d^=M]')")
    label = browser.run("document.querySelector('#plot-latency svg').getAttribute('aria-label')")
    assert "hit p50" in label
    # The cursor, by keyboard: it shows the time and the values there, in all plots.
    browser.run(
        "document.querySelector('#plot-share svg').dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'ArrowLeft', bubbles: true}))"
    )
    times = browser.texts(".plot .when")
    assert re.fullmatch(r"\d\d:\d\d:\d\d", times[0])
    assert times == [times[0]] * 3
    browser.click('#span [data-minutes="30"]')
    pressed = browser.run("document.querySelector('#span [aria-pressed=true]').dataset.minutes")
    assert pressed == "30"


def test_what_is_shown_follows_by_itself(browser, stand):
    browser.open(stand.url("statements"))
    browser.until_says("#statements-table", "FROM public.item")
    for _ in range(7):
        stand.client.query("SELECT price * 11 AS eleven FROM item WHERE id = 11")
    line = "[...document.querySelectorAll('#statements-table tr.opens')].find(each => "
    line += "each.innerText.includes('AS eleven'))"
    browser.until(f"{line}?.querySelectorAll('td')[1].innerText === '7'")


def test_statements_are_sorted_filtered_and_opened(browser, stand):
    browser.open(stand.url("statements"))
    browser.until_says("#statements-table", "revenue")
    browser.click("#statements-table th:nth-child(2) button")
    heads = "document.querySelectorAll('#statements-table th')"
    assert browser.run(f"{heads}[1].getAttribute('aria-sort')") == "descending"
    first = "document.querySelector('#statements-table tbody code').innerText"
    browser.until(f"{first}.includes('sum(seen)')")
    browser.click("#statements-table th:nth-child(2) button")
    assert browser.run(f"{heads}[1].getAttribute('aria-sort')") == "ascending"
    browser.until(f"!{first}.includes('sum(seen)')")

    browser.type("#statements-outcome", "bypass")
    browser.until("!document.querySelector('#statements-table').innerText.includes('revenue')")
    assert "random()" in browser.text("#statements-table")
    browser.type("#statements-outcome", "")
    # Not a pattern, and no way out of the quotes.
    browser.type("#statements-text", "100%' OR true --")
    browser.until_says("#statements-table", "No statement fits")
    browser.type("#statements-text", "REVENUE")
    browser.until_says("#statements-count", "1 shown")

    browser.click("#statements-table button.open")
    detail = browser.until_says(".detail", "Fingerprint")
    assert "public.item, public.sale" in detail
    found = re.search(r"hit (\d+)", detail)
    assert found is not None
    hits = int(found[1])
    assert browser.run("document.querySelector('button.open').ariaExpanded") == "true"
    # It stays open while the numbers go on.
    stand.client.query(REPORT)
    stand.client.query(REPORT)
    browser.until(f"/hit (\\d+)/.exec(document.querySelector('.detail').innerText)[1] > {hits}")
    browser.click("#statements-table button.open")
    assert browser.texts(".detail") == []


def test_a_link_opens_the_statement_it_names(browser, stand):
    browser.open(stand.url())
    browser.until("document.querySelector('#top-spent a')")
    text = browser.run("document.querySelector('#top-spent code').innerText")
    browser.click("#top-spent a")
    assert text in " ".join(browser.until_says(".detail pre", text[:20]).split())
    assert browser.text('nav [aria-current="page"]') == "Statements"


def test_a_pasted_statement_is_explained(browser, stand):
    browser.open(stand.url("explain"))
    browser.until(f"document.querySelector('#databases option[value={stand.database}]')")

    def explain(sql: str, database: str = stand.database) -> None:
        browser.type("#explain-sql", sql)
        browser.type("#explain-database", database)
        browser.click("#explain-form button")

    explain("SELECT random() FROM item")
    report = browser.until_says("#explained", "volatile_function")
    assert "function random" in report
    assert "Compute the value in the application;" in report
    stand.client.query(REPORT)
    explain(REPORT)
    report = browser.until_says("#explained", "It would be answered from memory.")
    assert "view public.revenue" in report
    assert "table public.sale" in report
    assert "simple" in report
    explain("UPDATE item SET price = 1")
    assert "public.item" in browser.until_says("#explained", "behind a fence")
    explain("SELECT 1", "nowhere")
    browser.until_says("#explained .notice", "nowhere")
    browser.forgive("400 (Bad Request)")
    explain("SELEC")
    browser.until_says("#explained", "unparsable")


def test_a_statement_in_the_list_can_be_explained(browser, stand):
    browser.open(stand.url("statements"))
    browser.until_says("#statements-table", "random()")
    browser.type("#statements-text", "amount > random()")
    browser.until_says("#statements-count", "1 shown")
    browser.click("#statements-table button.open")
    browser.until("document.querySelector('.detail a.strong')")
    browser.click(".detail a.strong")
    browser.until_says("#explained", "volatile_function")
    assert "random()" in browser.run("document.querySelector('#explain-sql').value")


def test_tables_fences_and_clients(browser, stand):
    browser.open(stand.url("tables"))
    table = browser.until_says("#tables-table", "public.item")
    assert "public.sale" in table
    browser.until_says("#evictions", "write")
    with (
        stand.server.connect(stand.database) as locker,
        stand.howdah.wire(stand.database) as writer,
    ):
        writer.query("SELECT 1")
        with locker.transaction():
            locker.execute("SELECT FROM item WHERE id = 5 FOR UPDATE")
            writer.send(query("UPDATE item SET price = price + 1 WHERE id = 5"))
            browser.until_says("#fences-table", "UPDATE item SET price")
            browser.until("/Fences\\s+1/.test(document.querySelector('#standing').innerText)")
        writer.until()
    browser.until_says("#fences-table", "No fence is up")

    browser.open(stand.url("connections"))
    clients = browser.until_says("#clients-table", stand.database)
    assert EVIL[:20] in clients
    browser.until_says("#upstreams-table", "own")

    browser.open(stand.url("setup"))
    browser.until_says("#contract", "proxied")
    browser.until_says("#config-table", "max_age")
    browser.until_says("#databases-table", stand.database)
    browser.until_says("#config-state", "no configuration file")


def test_texts_of_clients_are_never_markup(browser, stand):
    browser.open(stand.url("statements"))
    browser.until_says("#statements-table", "onerror")
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert "Statements" in browser.run("document.title")


def test_a_page_that_nobody_sees_asks_nothing(browser, stand):
    browser.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source="""
        window.waiting = new Set();
        const [set, clear] = [setTimeout, clearTimeout];
        window.setTimeout = (work, wait, ...more) => {
          const id = set(() => { waiting.delete(id); work(...more); }, wait);
          if (wait >= 500) waiting.add(id);
          return id;
        };
        window.clearTimeout = (id) => { waiting.delete(id); clear(id); };
        """,
    )
    browser.open(stand.url())
    browser.until("waiting.size === 1")
    left = browser.run(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true}),"
        "document.dispatchEvent(new Event('visibilitychange')), waiting.size"
    )
    assert left == 0
    # Whatever was under way has ended; it has not begun another round.
    browser.run("fetch('/healthz').then(answer => answer.text())")
    assert browser.run("waiting.size") == 0
    browser.run(
        "Object.defineProperty(document, 'hidden', {value: false}),"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    browser.until("waiting.size === 1")


def test_an_address_that_is_no_encoding_shows_the_overview(browser, stand):
    browser.open(stand.url("%"))
    browser.until_says("#standing", "Ready")
    assert browser.run("!document.querySelector('#overview').hidden")


def test_a_howdah_that_is_gone_is_missed(browser, stand):
    browser.open(stand.url())
    browser.until_says("#standing", "Ready")
    browser.offline(True)
    browser.until_says("#notices", "Howdah does not answer")
    assert browser.run("document.body.classList.contains('lost')")
    browser.offline(False)
    until_unsaid(browser, "Howdah does not answer")
    browser.forgive("ERR_INTERNET_DISCONNECTED")


def test_problems_are_shown(browser, stand):
    told = json.dumps(
        {
            "ready": False,
            "problems": ["PostgreSQL is not reachable"],
            "warnings": ["role 'etl' may write past Howdah"],
        }
    )
    browser.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source=f"""
        const ask = window.fetch;
        window.fetch = async (path, ...more) => {{
          const answer = await ask(path, ...more);
          if (path !== "/api/state" || window.well) return answer;
          return new Response(JSON.stringify({{ ...await answer.json(), ...{told} }}));
        }};""",
    )
    browser.open(stand.url())
    browser.until_says("#notices .bad", "PostgreSQL is not reachable")
    browser.until_says("#notices .warn", "'etl' may write")
    browser.until_says("#standing", "Not ready")
    browser.run("window.well = true")
    until_unsaid(browser, "PostgreSQL is not reachable")
    until_unsaid(browser, "'etl' may write")


def test_colours_are_the_systems_or_the_chosen_ones(browser, stand):
    ground = "getComputedStyle(document.body).backgroundColor"
    browser.dark(False)
    browser.open(stand.url())
    browser.until_says("#standing", "Ready")
    light = browser.run(ground)
    browser.dark(True)
    dark = browser.run(ground)
    assert dark != light
    browser.click("#theme")  # light, whatever the system says
    assert browser.run(ground) == light
    browser.open(stand.url())
    browser.until_says("#standing", "Ready")
    assert browser.run(ground) == light
    browser.click("#theme")
    browser.dark(False)
    assert browser.run(ground) == dark
    browser.click("#theme")  # the system's again
    assert browser.run(ground) == light


@pytest.mark.parametrize(
    ("name", "size", "dark"),
    [("light", DESKTOP, False), ("dark", DESKTOP, True), ("phone", PHONE, False)],
)
def test_pictures_of_all_sections(browser, stand, name, size, dark):
    browser.size(size)
    browser.dark(dark)
    ready = {
        "overview": "document.querySelector('#reasons .reason') && "
        "document.querySelector('#plot-share svg path')",
        "statements": "document.querySelector('#statements-table tr.opens')",
        "tables": "document.querySelector('#tables-table tbody tr')",
        "connections": "document.querySelector('#clients-table tbody tr')",
        "explain": "document.querySelector('#databases option')",
        "setup": "document.querySelector('#config-table tbody tr')",
    }
    stand.work()
    for section, shown in ready.items():
        browser.open(stand.url(section))
        browser.until(shown)
        if section == "statements":
            browser.click("#statements-table button.open")
        if section == "explain":
            browser.type("#explain-sql", "SELECT sum(amount), random() FROM sale")
            browser.click("#explain-form button")
            browser.until("document.querySelector('#explained .report')")
        no_overflow(browser)
        assert browser.picture(f"{section}-{name}").stat().st_size > 10_000
