"""Loyalty measured: metrics, segments, value, churn, journeys and feedback of unified customers."""
