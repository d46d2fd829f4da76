"""Codes of the domain in words: English here, other languages in the catalogue."""

import re
from collections.abc import Callable


def n_(text: str) -> str:
    """Marks a text for translation."""
    return text


PHRASES = {
    # purposes
    "service": n_("Customer service"), "email_marketing": n_("E-mail marketing"), "sms_marketing": n_("SMS marketing"),
    "phone_marketing": n_("Phone marketing"), "push_marketing": n_("Push marketing"), "wechat_marketing": n_("WeChat marketing"),
    "personalisation": n_("Personalisation"), "analytics": n_("Analytics"), "sale_or_sharing": n_("Sale or sharing"),
    "targeted_advertising": n_("Targeted advertising"), "processing": n_("All processing"),
    # why a flag is as it is
    "never_asked": n_("never asked"), "restricted": n_("processing is restricted"), "contract": n_("needed for the contract"),
    "legal_obligation": n_("required by law"), "vital_interest": n_("vital interest"), "public_task": n_("public task"),
    "granted_by_email": n_("granted for this address"), "granted_by_phone": n_("granted for this number"), "granted_by_record": n_("granted on the record"),
    "denied_by_email": n_("refused for this address"), "denied_by_phone": n_("refused for this number"), "denied_by_record": n_("refused on the record"),
    "withdrawn_by_email": n_("withdrawn for this address"), "withdrawn_by_phone": n_("withdrawn for this number"),
    "withdrawn_by_record": n_("withdrawn on the record"), "expired_by_email": n_("the grant has run out"), "expired_by_phone": n_("the grant has run out"),
    "expired_by_record": n_("the grant has run out"), "unasked_opt_out": n_("allowed until the person objects"),
    "unasked_legitimate_interest": n_("legitimate interest"), "double_opt_in_pending": n_("not confirmed yet"),
    "separate_consent_missing": n_("separate consent is missing"), "basis_not_recognised": n_("this law does not know the basis"),
    "not_for_this_purpose": n_("not shown for this purpose"),
    # how and where
    "web": n_("Web shop"), "app": n_("App"), "pos": n_("Store"), "service_desk": n_("Help desk"), "console": n_("Console"), "api": n_("API"),
    "agent": n_("Agent"), "steward": n_("Steward"), "privacy": n_("Privacy officer"), "admin": n_("Administrator"),
    "email": n_("E-mail"), "phone": n_("Phone"), "card": n_("Loyalty card"), "account": n_("Account"), "browser": n_("Browser"), "device": n_("Device"),
    "order": n_("Order"), "ticket": n_("Ticket"), "record": n_("Record"), "name": n_("Name"), "wechat_openid": n_("WeChat"), "wechat_unionid": n_("WeChat"),
    "return": n_("Return"), "points": n_("Points"), "consent": n_("Consent"), "user": n_("Account"), "receipt": n_("Receipt"), "visitor": n_("Visitor"), "anon": n_("Visitor"), "txn": n_("Receipt"), "line": n_("Receipt"),
    "identify": n_("Sign-in or form"), "track": n_("Activity"), "page": n_("Page"), "screen": n_("Screen"), "edit": n_("Correction"), "differs": n_("different"), "member": n_("Member"),
    "given_name": n_("Given name"), "family_name": n_("Family name"), "full_name": n_("Full name"), "birth_date": n_("Birth date"),
    "postal_code": n_("Postcode"), "city": n_("City"), "country": n_("Country"), "language": n_("Language"),
    "known": n_("Known"), "anonymous": n_("Anonymous"),
    # points
    "earn": n_("Earned"), "redeem": n_("Spent"), "clawback": n_("Taken back"), "adjust": n_("Correction"), "expire": n_("Expired"),
    "reversal": n_("Reversed"), "restore": n_("Given back"), "opening": n_("Opening balance"), "spend": n_("Purchase"),
    # care and flags
    "high_value": n_("High value"), "quiet": n_("Has gone quiet"), "unhappy": n_("Unhappy"),
    "deceased": n_("Deceased"), "fraud": n_("Fraud suspected"), "legal_hold": n_("Legal hold"), "vulnerable": n_("Vulnerable person"),
    # what is measured of a customer
    "state_prospect": n_("has not bought yet"), "state_new": n_("new"), "state_active": n_("active"), "state_occasional": n_("occasional"), "state_at_risk": n_("about to leave"), "state_dormant": n_("dormant"),
    "state_churned": n_("gone"), "state_reactivated": n_("came back"), "slowing": n_("buys less than before"), "stage_acquisition": n_("beginning"), "stage_growth": n_("growing"), "stage_maturity": n_("steady"), "stage_decline": n_("fading"),
    "loyalty_behavioural": n_("buys often"), "loyalty_attitudinal": n_("speaks for us, buys little"), "loyalty_composite": n_("buys often and likes us"),
    "loyalty_spurious": n_("buys often, without liking us or for discounts"), "loyalty_latent": n_("likes us, buys little"), "loyalty_none": n_("buys little, does not like us"),
    "loyalty_unknown": n_("buys little, never said"), "reason_silence": n_("long silence"), "reason_buys_less_often": n_("buys less often"), "reason_few_purchases": n_("few purchases"),
    "reason_spends_little": n_("spends little"), "reason_returns": n_("returns"), "reason_service": n_("trouble with the service"), "reason_discounts_only": n_("buys at a discount only"),
    "morning": n_("in the morning"), "afternoon": n_("in the afternoon"), "evening": n_("in the evening"), "night": n_("at night"),
    "metric_active_customers": n_("Customers with an order"), "metric_orders": n_("Orders"), "metric_net_revenue": n_("Sales less returns"),
    "metric_purchase_frequency": n_("Orders of a customer"), "metric_repurchase_rate": n_("Bought again"), "metric_average_order_value": n_("Average order"),
    "metric_return_rate": n_("Returned, of sales"), "metric_retention_rate": n_("Stayed"),
    "metric_churn_rate": n_("Left"), "metric_referral_rate": n_("Referred a friend"),
    "metric_answered_on_time": n_("Tickets closed in time"), "metric_hours_to_close": n_("Hours to close a ticket"), "all_channels": n_("All"),
    "question_nps": n_("Would recommend us (NPS)"), "question_csat": n_("Satisfied with the service, per cent"), "question_rating": n_("4 or 5 stars, per cent"),
    "topic_price": n_("Price"), "topic_quality": n_("Quality"), "topic_service": n_("Service"), "topic_delivery": n_("Delivery"), "topic_personalisation": n_("Unwanted messages"),
    "topic_returns": n_("Returns"), "topic_points": n_("Points"), "topic_website": n_("Website or app"), "topic_other": n_("Other"),
    "cause_late answer": n_("Ticket answered late"), "cause_ticket": n_("A ticket"), "cause_return": n_("A return"), "cause_bad answer": n_("A bad rating"),
    "cause_bought on discount": n_("Bought mostly on discount"), "cause_price": n_("Complained about the price"), "cause_quality": n_("Complained about quality"),
    "cause_delivery": n_("Complained about delivery"), "cause_service": n_("Complained about service"), "cause_personalisation": n_("Complained about messages"),
    "model_churn": n_("Chance to stay away"), "model_customer_value": n_("Expected spend"), "model_feedback_tone": n_("Tone of what people write"),
    "model_clusters": n_("Groups of alike customers"), "model_survival": n_("How long customers keep buying"), "model_retention_projection": n_("How many of a month's customers stay"), "model_loyalty_states": n_("Moves between states"),
    "step_visit": n_("Visit"), "step_product": n_("Saw a product"), "step_basket": n_("Basket"), "step_checkout": n_("Checkout"), "step_order": n_("Ordered"),
    "type_behavioural": n_("Behavioural"), "type_attitudinal": n_("Attitudinal"), "type_composite": n_("Composite"), "type_spurious": n_("Spurious"),
    "type_latent": n_("Latent"), "type_none": n_("None"), "type_unknown": n_("Unknown"), "chat": n_("Chat"), "wechat": n_("WeChat"),
    "observed": n_("seen"), "projected": n_("projected"),
    # why a customer is revealed
    "caller_asked": n_("The caller asked about it"), "checking_identity": n_("Checking who is calling"), "correcting_data": n_("Correcting data"),
    "complaint": n_("Handling a complaint"), "fraud_check": n_("Checking for fraud"),
    # identity
    "exact": n_("identifier"), "rule": n_("rule"), "probabilistic": n_("similarity"), "merge": n_("Merge"), "split": n_("Split"), "review": n_("Review"),
    "same": n_("the same person"), "different": n_("two people"), "unsure": n_("not sure"),
    "the same e-mail": n_("the same e-mail"), "the same phone": n_("the same phone"), "the same loyalty card": n_("the same loyalty card"),
    "a login in the same browser": n_("a login in the same browser"),
    "a ticket or return that names the other's order": n_("a ticket or return that names the other's order"),
    "the same WeChat openid": n_("the same WeChat openid"), "the same WeChat unionid": n_("the same WeChat unionid"),
    "values alike enough for one person": n_("values alike enough for one person"), "identical values": n_("identical values"),
    "a steward's decision": n_("a steward's decision"),
    "# (weight #)": n_("# (weight #)"),
    "a steward decided that they are two people": n_("a steward decided that they are two people"),
    "their birth dates and given names are two people's": n_("their birth dates and given names are two people's"),
    "a limit or a rule of identity.yaml, what others share with them, or a model newer than the last run keeps them apart":
        n_("a limit or a rule of identity.yaml, what others share with them, or a model newer than the last run keeps them apart"),
    "what joined them is not among the published evidence: the next run judges it again":
        n_("what joined them is not among the published evidence: the next run judges it again"),
    "their given names are two people's: nothing they share joins them": n_("their given names are two people's: nothing they share joins them"),
    "their values weigh #, below the threshold of #": n_("their values weigh #, below the threshold of #"),
    "evidence leads from one to the other, but too little of what lies across agrees, so they were split":
        n_("evidence leads from one to the other, but too little of what lies across agrees, so they were split"),
    "one of them gives no full name, or only values that too many people have, so only identifiers could join them": n_("one of them gives no full name, or only values that too many people have, so only identifiers could join them"),
    "no identifier, order or similar values join them": n_("no identifier, order or similar values join them"),
    "first": n_("Given name"), "last": n_("Family name"), "birth": n_("Birth date"), "postcode": n_("Postcode"), "mail": n_("E-mail name"),
    "place": n_("Place"), "region": n_("Region"), "local": n_("E-mail name"), "given": n_("Given name"), "family": n_("Family name"),
    "the same": n_("the same"), "a short form of it": n_("a short form of it"), "initial": n_("an initial of it"),
    "among the other's names": n_("among the other's names"), "among the other's names but the first": n_("among the other's names but the given name"), "a word in common": n_("a word in common"), "part of the other": n_("part of the other"),
    "the same year": n_("the same year"), "the same year, both on # January": n_("the same year, both on # January"),
    "the same before the @": n_("the same before the @"), "the same district": n_("the same district"),
    "at most # slip": n_("at most # slip"), "at most # slips": n_("at most # slips"), "similar (Jaro–Winkler #)": n_("similar spelling (#)"),
    "similar (Jaro–Winkler #), with the same number or one slip": n_("similar spelling (#), with the same number or one slip"),
    "first and family swapped, one with slips at most": n_("given and family name swapped, one with slips at most"), "the same year, one on # January": n_("the same year, one on # January"),
    # privacy
    "access": n_("Access"), "portability": n_("Portability"), "rectification": n_("Correction"), "restriction": n_("Restriction"),
    "objection": n_("Objection"), "erasure": n_("Erasure"), "received": n_("Received"), "verified": n_("Identity proven"), "running": n_("Running"),
    "done": n_("Done"), "refused": n_("Refused"), "failed": n_("Failed"), "pending": n_("Waiting"), "skipped": n_("Skipped"),
    "signed_in": n_("Signed in to their account"), "document_seen": n_("Showed a document"), "called_back": n_("Called back on a known number"),
    "code_sent": n_("Gave a code that was sent"), "in_person": n_("In person"),
    "lake": n_("Lake"), "store": n_("Serving database"), "landing": n_("Landing files"), "exported": n_("Exported"), "models": n_("Models"), "inbox": n_("Inbox"),
    "contact_records": n_("Contact records"), "identifiers": n_("Identifiers"), "interactions": n_("Interactions"),
    "consent_decisions": n_("Consent decisions"), "orders": n_("Orders (stay, without a person)"), "notes": n_("Notes"),
    "gdpr": n_("EU and UK (GDPR)"), "pipl": n_("China (PIPL)"), "ccpa": n_("California (CCPA)"), "strictest": n_("strictest law"),
    # states
    "open": n_("Open"), "new": n_("New"), "solved": n_("Solved"), "closed": n_("Closed"), "hold": n_("On hold"), "granted": n_("granted"),
    "denied": n_("refused"), "withdrawn": n_("withdrawn"), "expired": n_("expired"), "unknown": n_("unknown"),
    "positive": n_("positive"), "neutral": n_("neutral"), "negative": n_("negative"), "good": n_("good"), "bad": n_("bad"),
    "pipeline": n_("Pipeline"), "undo": n_("Undone"), "provisional": n_("Provisional"),
}  # fmt: skip
DONE = {
    "merged": n_("This customer was merged: you are on the page that stands for both."),
    "withdrawn": n_("The withdrawal holds from now on, on every channel."), "redeemed": n_("The points are spent."), "given": n_("The points are given."),
    "asked": n_("This is above the limit: it waits until somebody else approves it."), "approved": n_("Approved: the points are given."),
    "refused": n_("Refused: nothing was given."), "noted": n_("The note is kept."), "note_removed": n_("The note was taken away."),
    "split": n_("Done: they are two customers now. You can undo it below."), "merged_now": n_("Done: they are one customer now. You can undo it below."),
    "undone": n_("Undone: everything is as it was before."),
    "undone_partly": n_("Undone, but for records that others moved since: those stay where they are."), "said_same": n_("Kept: the same person. It holds now."),
    "said_different": n_("Kept: two people. It holds from the next run on."), "said_unsure": n_("Kept: not sure. Nobody is asked again."),
    "received": n_("The request is open. Prove who the person is next."), "verify": n_("Identity is proven."), "extend": n_("The deadline is later now."),
    "refuse": n_("The request is refused; tell the person why."), "carry_out": n_("Done as asked."), "step": n_("Noted."),
    "corrected": n_("Corrected. It shows as a correction, and can be undone below."), "correction_undone": n_("The correction was taken back."),
}  # fmt: skip
NUMBER_TOLD = re.compile(r"-?\d[\d,]*")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def say(code: str | None, translate: Callable[[str], str]) -> str:
    """A code, or a sentence of the explanation, in the reader's words; what has none is shown as it is."""
    if not code:
        return "–"
    if code in PHRASES:
        return translate(PHRASES[code])
    found = NUMBER.findall(code)
    pattern = NUMBER.sub("#", code)
    if found and pattern in PHRASES:
        return _filled(translate(PHRASES[pattern]), found)
    if weight := re.fullmatch(r"(.+) \(weight (-?[\d.]+)\)", code):
        return _filled(translate(PHRASES["# (weight #)"]), [say(weight[1], translate), weight[2]])
    return translate(code.replace("_", " ")) if code.isidentifier() else code


def segment(name: str) -> str:
    """The code of a segment: loyalty states are segments too."""
    return f"state_{name}" if f"state_{name}" in PHRASES else name


def told(message: str, translate: Callable[[str], str]) -> str:
    """What went wrong, in the reader's words, with the numbers that it names."""
    found = NUMBER_TOLD.findall(message)
    return _filled(translate(NUMBER_TOLD.sub("#", message)), found) if found else translate(message)


def _filled(text: str, values: list[str]) -> str:
    for value in values:
        text = text.replace("#", value, 1)
    return text
