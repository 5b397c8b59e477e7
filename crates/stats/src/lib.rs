//! Pure functions from records to one summary: definitions, quantiles, the verdict.
