//! Rules for what runs pods to their end.

use super::pod::template;
use crate::field::{Path, Problems};
use k8s_openapi::api::batch::v1::{CronJob, Job, JobSpec};
use std::str::FromStr;

/// The longest name of a CronJob: the names of its jobs add eleven characters.
const CRON_NAME: usize = 52;

pub(crate) fn job(p: &mut Problems, job: &Job) {
    match &job.spec {
        Some(spec) => job_spec(p, &Path::root("spec"), spec),
        None => p.required(Path::root("spec"), ""),
    }
}

pub(crate) fn cron_job(p: &mut Problems, cron: &CronJob) {
    let path = Path::root("spec");
    let Some(spec) = &cron.spec else {
        return p.required(path, "");
    };
    if cron
        .metadata
        .name
        .as_ref()
        .is_some_and(|name| name.len() > CRON_NAME)
    {
        let path = Path::root("metadata").child("name");
        p.invalid(
            path,
            &cron.metadata.name,
            "must be no more than 52 characters",
        );
    }
    schedule(
        p,
        path.child("schedule"),
        &spec.schedule,
        spec.time_zone.is_some(),
    );
    if let Some(zone) = &spec.time_zone {
        let known = jiff::tz::TimeZone::get(zone).is_ok();
        if zone.is_empty() || zone.eq_ignore_ascii_case("local") || !known {
            p.invalid(
                path.child("timeZone"),
                zone,
                &format!("unknown time zone {zone}"),
            );
        }
    }
    let policies = ["Allow", "Forbid", "Replace"];
    p.one_of(
        path.child("concurrencyPolicy"),
        spec.concurrency_policy.as_deref(),
        &policies,
    );
    for (field, value) in [
        ("startingDeadlineSeconds", spec.starting_deadline_seconds),
        (
            "successfulJobsHistoryLimit",
            spec.successful_jobs_history_limit.map(i64::from),
        ),
        (
            "failedJobsHistoryLimit",
            spec.failed_jobs_history_limit.map(i64::from),
        ),
    ] {
        p.non_negative(path.child(field), value);
    }
    let path = path.child("jobTemplate").child("spec");
    match &spec.job_template.spec {
        Some(spec) => job_spec(p, &path, spec),
        None => p.required(path, ""),
    }
}

fn schedule(p: &mut Problems, path: Path, schedule: &str, has_zone: bool) {
    if schedule.is_empty() {
        return p.required(path, "");
    }
    if schedule.contains("TZ") {
        let detail = if has_zone {
            "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        } else {
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        };
        return p.invalid(path, schedule, detail);
    }
    if let Err(error) = crate::schedule::Schedule::from_str(schedule) {
        p.invalid(path, schedule, &error.to_string());
    }
}

fn job_spec(p: &mut Problems, path: &Path, spec: &JobSpec) {
    for (field, value) in [
        ("parallelism", spec.parallelism.map(i64::from)),
        ("completions", spec.completions.map(i64::from)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit.map(i64::from)),
        (
            "backoffLimitPerIndex",
            spec.backoff_limit_per_index.map(i64::from),
        ),
        ("maxFailedIndexes", spec.max_failed_indexes.map(i64::from)),
        (
            "ttlSecondsAfterFinished",
            spec.ttl_seconds_after_finished.map(i64::from),
        ),
    ] {
        p.non_negative(path.child(field), value);
    }
    let mode = spec.completion_mode.as_deref();
    p.one_of(
        path.child("completionMode"),
        mode,
        &["Indexed", "NonIndexed"],
    );
    let indexed = mode == Some("Indexed");
    if indexed && spec.completions.is_none() {
        p.required(path.child("completions"), "when completion mode is Indexed");
    }
    if !indexed && spec.backoff_limit_per_index.is_some() {
        let detail = "requires indexed completion mode";
        p.invalid(
            path.child("backoffLimitPerIndex"),
            spec.backoff_limit_per_index,
            detail,
        );
    }
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        p.required(
            path.child("backoffLimitPerIndex"),
            "when maxFailedIndexes is specified",
        );
    }
    let pod = path.child("template").child("spec");
    let policy = spec
        .template
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref());
    match policy {
        Some("OnFailure") if spec.pod_failure_policy.is_some() => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            p.invalid(pod.child("restartPolicy"), "OnFailure", detail);
        }
        Some("OnFailure" | "Never") => {}
        None | Some("Always") => {
            p.required(
                pod.child("restartPolicy"),
                "valid values: \"OnFailure\", \"Never\"",
            );
        }
        Some(other) => p.not_supported(pod.child("restartPolicy"), other, &["OnFailure", "Never"]),
    }
    failure_policy(p, path, spec);
    template(p, &path.child("template"), &spec.template);
}

fn failure_policy(p: &mut Problems, path: &Path, spec: &JobSpec) {
    let Some(policy) = &spec.pod_failure_policy else {
        return;
    };
    for (index, rule) in policy.rules.iter().enumerate() {
        let path = path.child("podFailurePolicy").child("rules").index(index);
        let actions = ["Count", "FailIndex", "FailJob", "Ignore"];
        p.one_of(path.child("action"), Some(&rule.action), &actions);
        let by_pods = rule
            .on_pod_conditions
            .as_ref()
            .is_some_and(|c| !c.is_empty());
        match (&rule.on_exit_codes, by_pods) {
            (None, false) => {
                p.invalid(
                    path,
                    "",
                    "specifying one of OnExitCodes and OnPodConditions is required",
                );
            }
            (Some(_), true) => {
                p.invalid(
                    path,
                    "",
                    "specifying both OnExitCodes and OnPodConditions is not supported",
                );
            }
            (Some(codes), false) => {
                p.one_of(
                    path.child("operator"),
                    Some(&codes.operator),
                    &["In", "NotIn"],
                );
                if codes.values.is_empty() {
                    p.invalid(
                        path.child("values"),
                        &codes.values,
                        "at least one value is required",
                    );
                }
            }
            (None, true) => {}
        }
    }
}
