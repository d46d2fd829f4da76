"""People by name: misspelt, in any order, by pinyin or by single characters."""

from typing import Any

import psycopg
from psycopg.rows import dict_row

ALIKE = 0.45  # least word similarity of pg_trgm (shared three-letter parts): a slip in a short name costs a third
SURELY = 0.5  # of a long name, in which two slips cost less than that; fewer names are looked at
LONG = 14  # letters
MOST_NAMES = 60
MOST_RECORDS = 40  # of one name
SHORTEST = 3  # letters: fewer are alike to everything
BEGUN = 0.2  # for every word of a name that begins as typed: "art osborn" is Arthur Osborne before John Osborn
ALIKE_NAMES = """
    select name, word_similarity(%(letters)s, letters) + similarity(%(letters)s, letters) / 10::float8 + %(begun)s::float8 * (
            select avg((exists (select 1 from unnest(string_to_array(letters, ' ')) w where starts_with(w, t)))::int)
            from unnest(string_to_array(%(letters)s, ' ')) t
        )::float8 as alike
    from names where %(letters)s <%% letters order by alike desc, name limit %(names)s
"""
HOLDING = """
    select name, (2.0 + 1.0 / cardinality(characters))::float8 from names where characters @> %(characters)s::text[]
    order by 2 desc, name limit %(names)s
"""
PEOPLE = """
    select a.customer_id::text, max(n.alike) as alike from unnest(%(names)s::text[], %(alike)s::float8[]) as n (name, alike)
    cross join lateral (select record_id from contact_records r where name_of(r.fields) = n.name limit %(records)s) r
    join assignment a using (record_id) join profiles p using (customer_id)
    group by a.customer_id order by alike desc, a.customer_id limit %(limit)s
"""


def customers(
    store: psycopg.Connection, letters: str | None, characters: list[list[str]], limit: int
) -> list[dict[str, Any]]:
    """Customers whose name, now or before, is alike; the best first.

    Args:
        store: A connection.
        letters: The name in a-z, None where it has none.
        characters: Sets of Chinese characters (simplified, traditional); a name that holds all of one set is found.
        limit: Most customers.

    Returns:
        Rows of `customer_id`, `alike` (0 to 1; above 1 where the characters themselves are found).
    """
    near: dict[str, float] = {}
    with store.transaction():
        if letters and len(letters) >= SHORTEST:
            store.execute(
                "select set_config('pg_trgm.word_similarity_threshold', %s, true)",
                [str(ALIKE if len(letters) < LONG else SURELY)],
            )
            near |= dict(
                store.execute(ALIKE_NAMES, {"letters": letters, "names": MOST_NAMES, "begun": BEGUN}).fetchall()
            )
        for one in characters:
            near |= dict(store.execute(HOLDING, {"characters": one, "names": MOST_NAMES}).fetchall())
    with store.cursor(row_factory=dict_row) as cursor:
        asked = {"names": list(near), "alike": list(near.values()), "records": MOST_RECORDS, "limit": limit}
        return cursor.execute(PEOPLE, asked).fetchall()
