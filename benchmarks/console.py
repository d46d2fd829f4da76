"""Pages of the console over many customers: how long the server takes, against a lookup by the API in the same run.

    python -m benchmarks.console [--profiles 1000000] [--home FOLDER]

One API worker on one machine with its PostgreSQL, one person who asks one thing after another. Names are typed as people
say them: misspelt, a part, in pinyin, a single character. Writes results/console.json.
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2 as httpx

from benchmarks.api.__main__ import prepared
from benchmarks.serving import Served
from cdp import access
from cdp.store import keys, users
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace

RESULTS = Path(__file__).parent / "results"
PASSWORD = "seven quiet tills at noon"  # noqa: S105 - of an account that ends with the run
TURNS = 40
MOST_COPIED = 10_000
SPREAD = r"""
    with numbered as (
        select record_id, fields, abs(hashtext(record_id)) as n, %(sounds)s::text[][] as s from contact_records
        where fields ->> 'full_name' is not null and record_id ~ '-\d{4}$'
    ), called as (
        select record_id, fields, n, s, 1 + n %% 20 as a, 1 + n / 20 %% 20 as b, 1 + n / 400 %% 20 as c, 1 + n / 8000 %% 20 as d,
            fields ->> 'full_name' ~ '[一-鿿]' as chinese
        from numbered
    ), named as (
        select record_id, fields, case when chinese then substr(%(family)s, a, 1) || substr(%(one)s, b, 1) || substr(%(two)s, c, 1)
                else initcap(s[4][a] || s[5][b]) || ' ' || initcap(s[6][c] || s[7][d]) end as said,
            case when chinese then s[2][b] || s[3][c] || ' ' || s[1][a] else s[4][a] || s[5][b] || ' ' || s[6][c] || s[7][d] end as letters
        from called
    )
    update contact_records r set fields = m.fields || jsonb_build_object('full_name', m.said, 'full_key', m.letters) from named m
    where r.record_id = m.record_id
"""


def spread(made: Workspace) -> None:
    """Give the copies of one town names of their own: some hundred thousand that differ, as so many people have."""
    with connect(owner_address(made)) as store:
        if int(store.execute("select count(*) from names").fetchall()[0][0]) > MOST_COPIED:
            return
        store.execute(
            SPREAD,
            {
                "family": "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗",
                "one": "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚",
                "two": "华文玉春国建志晓海红秀英永成东立金德庆云",
                "sounds": [
                    [
                        "wang",
                        "li",
                        "zhang",
                        "liu",
                        "chen",
                        "yang",
                        "huang",
                        "zhao",
                        "wu",
                        "zhou",
                        "xu",
                        "sun",
                        "ma",
                        "zhu",
                        "hu",
                        "guo",
                        "he",
                        "gao",
                        "lin",
                        "luo",
                    ],
                    [
                        "wei",
                        "fang",
                        "na",
                        "min",
                        "jing",
                        "li",
                        "qiang",
                        "lei",
                        "jun",
                        "yang",
                        "yong",
                        "yan",
                        "jie",
                        "juan",
                        "tao",
                        "ming",
                        "chao",
                        "xia",
                        "ping",
                        "gang",
                    ],
                    [
                        "hua",
                        "wen",
                        "yu",
                        "chun",
                        "guo",
                        "jian",
                        "zhi",
                        "xiao",
                        "hai",
                        "hong",
                        "xiu",
                        "ying",
                        "yong",
                        "cheng",
                        "dong",
                        "li",
                        "jin",
                        "de",
                        "qing",
                        "yun",
                    ],
                    [
                        "mar",
                        "jo",
                        "ann",
                        "ka",
                        "li",
                        "ro",
                        "be",
                        "da",
                        "el",
                        "fre",
                        "ge",
                        "ha",
                        "is",
                        "ju",
                        "le",
                        "mi",
                        "ni",
                        "ol",
                        "pa",
                        "so",
                    ],
                    [
                        "garet",
                        "seph",
                        "abel",
                        "therine",
                        "lian",
                        "bert",
                        "atrice",
                        "niel",
                        "eanor",
                        "derick",
                        "orge",
                        "rriet",
                        "abella",
                        "lian",
                        "onard",
                        "chael",
                        "cholas",
                        "iver",
                        "tricia",
                        "phia",
                    ],
                    [
                        "thistle",
                        "black",
                        "green",
                        "wood",
                        "stone",
                        "ash",
                        "hart",
                        "mill",
                        "brook",
                        "fair",
                        "marsh",
                        "north",
                        "ridge",
                        "west",
                        "hill",
                        "oak",
                        "king",
                        "long",
                        "red",
                        "sand",
                    ],
                    [
                        "wood",
                        "ford",
                        "ley",
                        "ton",
                        "worth",
                        "field",
                        "well",
                        "by",
                        "ham",
                        "don",
                        "combe",
                        "stead",
                        "bury",
                        "mere",
                        "wick",
                        "land",
                        "croft",
                        "dale",
                        "gate",
                        "ings",
                    ],
                ],
            },
        )
        store.execute("vacuum analyze")


def asked(made: Workspace) -> dict[str, list[str]]:
    """Customers, and what people type."""
    with connect(owner_address(made)) as store:

        def column(query: str) -> list[str]:
            return [str(row[0]) for row in store.execute(query, [TURNS]).fetchall()]

        names = column(
            "select name from names where name ~ '^[A-Z][a-z]{4,} [A-Z][a-z]{4,}$' order by md5(name) limit %s"
        )
        return {
            "customer": column(
                "select customer_id from profiles where kind = 'known' order by md5(customer_id::text) limit %s"
            ),
            "phone": column(
                "select value from identifiers where type = 'phone' order by md5(value || record_id) limit %s"
            ),
            "name": names,
            "misspelt": [name[:2] + name[3:] for name in names],
            "part": [name.split()[0][:5] for name in names],
            "pinyin": column("select letters from names where name ~ '^[一-鿿]+$' order by md5(name) limit %s"),
            "character": column(
                "select left(name, 1) from names where name ~ '^[一-鿿]+$' order by md5(name) limit %s"
            ),
        }


def measure(made: Workspace) -> dict[str, Any]:
    """Milliseconds of each kind of page: median, and the 95th of a hundred."""
    said = asked(made)
    with connect(owner_address(made)) as store:
        name = f"benchmark-{datetime.now(UTC):%H%M%S}"
        users.create(store, name, access.hashed(PASSWORD, name), ["admin"], "en", datetime.now(UTC))
        key = keys.create(store, made.secrets["pepper"], name, ["profiles:read"], datetime.now(UTC))
    server = Served(made)
    server.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
            client.post("/console/sign-in", data={"name": name, "password": PASSWORD})
            home = client.get("/console/").text
            token = re.search(r'name="csrf" value="([0-9a-f]+)"', home)
            assert token is not None
            form, headers = {"csrf": token[1]}, {"X-Fragment": "1"}

            def typing(kind: str) -> Callable[[int], httpx.Response]:
                return lambda n: client.post("/console/search", data={**form, "q": said[kind][n]}, headers=headers)

            pages: dict[str, Callable[[int], httpx.Response]] = {
                "lookup (API)": lambda n: client.post(
                    "/v1/customers/lookup",
                    json={"type": "phone", "value": said["phone"][n]},
                    headers={"Authorization": f"Bearer {key}"},
                ),
                "first page": lambda n: client.get("/console/"),
                **{
                    f"typing: {kind}": typing(kind)
                    for kind in ("phone", "name", "misspelt", "part", "pinyin", "character")
                },
                "customer": lambda n: client.get(f"/console/customers/{said['customer'][n]}"),
                "why": lambda n: client.get(f"/console/customers/{said['customer'][n]}/why"),
            }
            found = {what: _timed(page) for what, page in pages.items()}
            began = time.perf_counter()
            client.get("/console/manager")
            found["figures, first time"] = {"median ms": round(1000 * (time.perf_counter() - began), 1)}
            static = sum(
                (Path(__file__).parents[1] / "api/console/static" / file).stat().st_size
                for file in ("console.css", "console.js")
            )
            weight = {"first page, with styles and script, bytes": len(home.encode()) + static}
    finally:
        server.kill()
    base = found["lookup (API)"]["median ms"]
    return {
        **weight,
        "pages": {what: {**took, "of a lookup": round(took["median ms"] / base, 1)} for what, took in found.items()},
    }


def _timed(page: Callable[[int], httpx.Response]) -> dict[str, float]:
    took = []
    for n in range(TURNS):
        began = time.perf_counter()
        answer = page(n)
        took.append(1000 * (time.perf_counter() - began))
        assert answer.status_code == 200, answer.text[:300]
    return {
        "median ms": round(statistics.median(took), 1),
        "p95 ms": round(sorted(took)[int(0.95 * TURNS) - 1], 1),
        "slowest ms": round(max(took), 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profiles", type=int, default=1_000_000)
    parser.add_argument("--home", type=Path, help="A workspace to keep, as `benchmarks.api` makes it.")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = prepared(wanted.home or Path(folder) / "home", wanted.profiles)
        with database(made):
            spread(made)
            with connect(owner_address(made)) as store:
                count = int(store.execute("select count(*) from profiles").fetchall()[0][0])
                distinct = int(store.execute("select count(*) from names").fetchall()[0][0])
            result = {"profiles": count, "names": distinct, **measure(made)}
    RESULTS.joinpath("console.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
