"""Workflow definitions: SPANE's shape and ours, their hash, whether one can be run, and what of it is left to run."""

from spane_otel.graph.dag import Dag, Progress
from spane_otel.graph.definition import content_hash, load_workflow, workflow_document, workflow_text
from spane_otel.graph.policy import (
    DELAY,
    SUB_WORKFLOW,
    delay_ms,
    is_tolerant,
    map_members,
    member_mapping,
    retry_policy,
    sub_workflow_id,
    wait_ms,
)
from spane_otel.graph.validation import check_nesting, check_workflow, sub_workflows

__all__ = [
    "DELAY",
    "SUB_WORKFLOW",
    "Dag",
    "Progress",
    "check_nesting",
    "check_workflow",
    "content_hash",
    "delay_ms",
    "is_tolerant",
    "load_workflow",
    "map_members",
    "member_mapping",
    "retry_policy",
    "sub_workflow_id",
    "sub_workflows",
    "wait_ms",
    "workflow_document",
    "workflow_text",
]
