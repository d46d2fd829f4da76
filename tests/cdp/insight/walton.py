"""Lifetimes of flies in days (C. Walton; the data set `waltons` of lifelines, MIT): (days, died, group)."""

DIED = {
    "miR-137": {6: 1, 9: 3, 13: 3, 15: 2, 19: 3, 22: 4, 26: 5, 29: 5, 33: 2, 36: 2, 43: 1, 47: 1, 62: 2},
    "control": {
        7: 1,
        17: 1,
        32: 1,
        33: 1,
        38: 2,
        41: 7,
        45: 9,
        48: 8,
        51: 3,
        53: 7,
        54: 2,
        56: 18,
        58: 4,
        60: 15,
        61: 9,
        63: 9,
        66: 3,
        68: 9,
        69: 12,
        75: 1,
    },
}
STILL_ALIVE = {"control": {7: 1, 45: 1, 60: 1, 61: 2, 68: 1, 69: 1}}
FLIES = [(float(days), True, group) for group, counts in DIED.items() for days, n in counts.items() for _ in range(n)]
FLIES += [
    (float(days), False, group) for group, counts in STILL_ALIVE.items() for days, n in counts.items() for _ in range(n)
]
