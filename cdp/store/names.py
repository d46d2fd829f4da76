"""People by name: misspelt, in any order, by pinyin or by single characters."""

from typing import Any

import psycopg
from psycopg.rows import dict_row

ALIKE = 0.45  # least word similarity of pg_trgm (shared three-letter parts), 0.6 by its default; a slip in a short name costs a third
MOST_NAMES = 60
MOST_RECORDS = 40  # of one name


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
    sets = [*characters, [], []][:2]
    with store.transaction(), store.cursor(row_factory=dict_row) as cursor:
        cursor.execute("select set_config('pg_trgm.word_similarity_threshold', %s, true)", [str(ALIKE)])
        return cursor.execute(
            """
            with near as (
                (select name, word_similarity(%(letters)s, letters) + similarity(%(letters)s, letters) / 10 as alike
                from names where %(letters)s <%% letters order by alike desc, name limit %(names)s)
                union all
                (select name, 2.0 + 1.0 / cardinality(characters) from names
                where (cardinality(%(one)s::text[]) > 0 and characters @> %(one)s::text[])
                    or (cardinality(%(other)s::text[]) > 0 and characters @> %(other)s::text[])
                order by 2 desc, name limit %(names)s)
            )
            select a.customer_id::text, max(n.alike) as alike from near n
            cross join lateral (select record_id from contact_records r where r.fields ->> 'full_name' = n.name limit %(records)s) r
            join assignment a using (record_id) join profiles p using (customer_id)
            group by a.customer_id order by alike desc, a.customer_id limit %(limit)s
            """,
            {
                "letters": letters or "",
                "one": sets[0],
                "other": sets[1],
                "names": MOST_NAMES,
                "records": MOST_RECORDS,
                "limit": limit,
            },
        ).fetchall()
