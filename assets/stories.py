"""Plots of journeys, channels and feedback in asset metadata: titled, with units on the axes."""

import dagster as dg

from assets.charts import SHARE, axis, drawn
from assets.pictures import bars
from cdp.lake.engine import Lake


def funnel(lake: Lake) -> dg.MarkdownMetadataValue:
    """Visits by the furthest step."""
    rows = lake.records(
        "select channel, step, position, visits, share from mart__funnel where channel <> 'all' order by position, channel"
    )
    spec = {
        "mark": "bar", "height": {"step": 18},
        "encoding": {
            "y": axis("step", "nominal", "step reached", sort=[r["step"] for r in rows]), "x": axis("visits", "quantitative", "visits of the last year"),
            "color": axis("channel", "nominal", "channel"), "yOffset": {"field": "channel"},
        },
    }  # fmt: skip
    return drawn("How far visits go", spec, rows)


def journeys(lake: Lake) -> dg.MarkdownMetadataValue:
    """What follows what, as a table of shares."""
    rows = lake.records(
        "select touch, next_touch, share, moves from mart__journey_moves where moves >= 5 order by moves desc limit 120"
    )
    spec = {
        "width": {"step": 46}, "height": {"step": 22},
        "encoding": {
            "x": axis("next_touch", "nominal", "what came next", axis={"labelAngle": -40, "labelLimit": 160}), "y": axis("touch", "nominal", "touch", axis={"labelLimit": 160}),
        },
        "layer": [
            {"mark": "rect", "encoding": {"color": axis("share", "quantitative", "share of what followed", scale={"scheme": "blues"}, legend={"format": "%"})}},
            {"mark": {"type": "text", "fontSize": 10}, "encoding": {"text": axis("share", "quantitative", "share", format=".0%")}},
        ],
    }  # fmt: skip
    return drawn("What customers do next", spec, rows, "Silence: nothing within the horizon.")


def pains(lake: Lake) -> dg.MarkdownMetadataValue:
    """What touches lead to tickets and to silence."""
    found = lake.records(
        "select touch, ticket_share, silence_share, touches from mart__pain_points where touches >= 10 order by silence_share desc nulls last limit 25"
    )
    rows = [
        {"touch": r["touch"], "followed by": what, "share": r[name]}
        for r in found
        for what, name in (("a ticket within a week", "ticket_share"), ("no purchase for a horizon", "silence_share"))
        if r[name] is not None
    ]
    spec = {
        "mark": "bar", "height": {"step": 14},
        "encoding": {
            "y": axis("touch", "nominal", "", sort=[r["touch"] for r in found], axis={"labelLimit": 240}), "x": axis("share", "quantitative", "share of touches", axis=SHARE),
            "color": axis("followed by", "nominal", "followed by"), "yOffset": {"field": "followed by"},
        },
    }  # fmt: skip
    return drawn("Where journeys hurt", spec, rows)


def acquisition(lake: Lake) -> dg.MarkdownMetadataValue:
    """What customers of a first channel have brought so far, with the error of the mean."""
    rows = [
        {"channel": r["channel"], "net": r["net_per_customer"], "low": r["net_per_customer"] - 1.96 * (r["net_error"] or 0), "high": r["net_per_customer"] + 1.96 * (r["net_error"] or 0)}
        for r in lake.records("select * from mart__acquisition_channels order by net_per_customer desc")
    ]  # fmt: skip
    y = axis("channel", "nominal", "first channel", sort=[r["channel"] for r in rows])
    spec = {
        "height": {"step": 26},
        "layer": [
            {
                "mark": "bar",
                "encoding": {
                    "y": y,
                    "x": axis(
                        "net", "quantitative", "net spend of a customer so far, currency of reports (95 % interval)"
                    ),
                },
            },
            {"mark": "rule", "encoding": {"y": y, "x": axis("low", "quantitative", ""), "x2": {"field": "high"}}},
        ],
    }
    return drawn(
        "What customers won by a channel are worth", spec, rows, "Descriptive: channels draw different people."
    )


def attribution(lake: Lake) -> dg.MarkdownMetadataValue:
    """Share of orders by rule and channel."""
    rows = lake.records("select rule, channel, share from mart__attribution order by 1, 2")
    spec = {
        "mark": "bar",
        "encoding": {
            "x": axis("channel", "nominal", "channel"), "xOffset": {"field": "rule"}, "y": axis("share", "quantitative", "share of orders", axis=SHARE),
            "color": axis("rule", "nominal", "credited by"),
        },
    }  # fmt: skip
    return drawn(
        "Which channels come before orders", spec, rows, "Descriptive, not causal: it says what came before an order."
    )


def causes(lake: Lake) -> dg.MarkdownMetadataValue:
    """What silent customers had more often than others."""
    rows = lake.records(
        "select cause, lift, customers from mart__churn_causes where customers >= 10 and lift is not null order by excess desc"
    )
    note = "Over 1: silent more often than customers without it. A suspicion, no proof. " + ", ".join(
        f"{r['cause']}: {r['customers']:,.0f} customers" for r in rows
    )
    return bars("What those who fell silent had before", rows, "cause", "lift", "times as often silent", note)


def topics(lake: Lake) -> dg.MarkdownMetadataValue:
    """Remarks by topic and tone."""
    rows = lake.records(
        "select topic, tone, sum(remarks) as remarks, min(confidence) as confidence from mart__feedback_topics group by 1, 2 order by sum(remarks) desc, 1, 2"
    )
    spec = {
        "mark": "bar", "height": {"step": 18},
        "encoding": {
            "y": axis("topic", "nominal", "", sort="-x"), "x": axis("remarks", "quantitative", "remarks of the last year"),
            "color": axis("tone", "nominal", "tone", scale={"domain": ["positive", "unclear", "negative"], "range": ["#2a7f4f", "#b9b9b9", "#b3392f"]}),
        },
    }  # fmt: skip
    low = any(r["confidence"] == "low" for r in rows)
    return drawn(
        "What people write about",
        spec,
        [{**r, "remarks": int(r["remarks"])} for r in rows],
        "Tone of low confidence: by a word list." if low else "",
    )


def surveys(lake: Lake) -> dg.MarkdownMetadataValue:
    """Answers by channel, with intervals."""
    rows = lake.records(
        "select question || ' ' || channel as what, question, score, low, high, answers from mart__survey_scores where period = 'year' and state = 'all' order by question, channel"
    )
    y = axis("what", "nominal", "", sort=[r["what"] for r in rows], axis={"labelLimit": 240})
    spec = {
        "height": {"step": 22},
        "encoding": {"color": axis("question", "nominal", "question")},
        "layer": [
            {"mark": {"type": "point", "filled": True, "size": 70}, "encoding": {"y": y, "x": axis("score", "quantitative", "NPS (−100 to 100); satisfied (per cent)")}},
            {"mark": "rule", "encoding": {"y": y, "x": axis("low", "quantitative", ""), "x2": {"field": "high"}}},
        ],
    }  # fmt: skip
    return drawn(
        "What people answer, over the last year (95 % interval)",
        spec,
        rows,
        ", ".join(f"{r['what']}: {r['answers']:,} answers" for r in rows),
    )
