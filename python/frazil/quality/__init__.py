"""What codes cost: errors and recall of a sample's codes beside its floats, and NDCG@10 of a whole collection."""

from __future__ import annotations

from frazil.quality.report import Estimate, Report, Sample, report

__all__ = ["Estimate", "Report", "Sample", "report"]
