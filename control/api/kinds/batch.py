"""The group batch: v1, and v1beta1 CronJob, which kubectl 1.20 writes."""

from __future__ import annotations

from dataclasses import replace

from control.api.kind import Column, Kind
from control.api.kinds.columns import AGE, CONTAINERS, IMAGES, NAME, SELECTOR, number, text

JOB = Kind(
    "batch", "v1", "Job", "jobs", "batch.v1.Job",
    categories=("all",), subresources=("status",), selectable=("status.successful",),
    columns=(
        NAME,
        text("Status", "job_status", "what the job is doing"),
        text("Completions", "job_completions", "succeeded of wanted"),
        text("Duration", "job_duration", "how long it has run or ran"),
        AGE, CONTAINERS, IMAGES, SELECTOR,
    ),
)  # fmt: skip

CRON_JOB = Kind(
    "batch", "v1", "CronJob", "cronjobs", "batch.v1.CronJob",
    short_names=("cj",), categories=("all",), subresources=("status",),
    columns=(
        NAME,
        text("Schedule", ".spec.schedule", "when it runs, in cron's words"),
        text("Timezone", "time_zone", "where the schedule's clock stands"),
        Column("Suspend", "suspended", "boolean", description="whether it makes no jobs for now"),
        number("Active", "active_count", "running jobs"),
        text("Last Schedule", "last_schedule", "time since the last job"),
        AGE, CONTAINERS, IMAGES, SELECTOR,
    ),
)  # fmt: skip

CRON_JOB_BETA = replace(
    CRON_JOB, version="v1beta1", type="batch.v1beta1.CronJob", storage_version="batch/v1",
    deprecated="batch/v1beta1 CronJob is deprecated; use batch/v1 CronJob",
)  # fmt: skip

KINDS = (CRON_JOB, JOB, CRON_JOB_BETA)
