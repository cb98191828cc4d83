//! Defaults of what runs pods to their end.

use super::{text, workload::template};
use k8s_openapi::api::batch::v1::{CronJob, Job, JobSpec};

pub(crate) fn job(job: &mut Job) {
    job.spec.iter_mut().for_each(job_spec);
}

pub(crate) fn cron_job(cron: &mut CronJob) {
    let Some(spec) = &mut cron.spec else { return };
    text(&mut spec.concurrency_policy, "Allow");
    spec.suspend.get_or_insert(false);
    spec.successful_jobs_history_limit.get_or_insert(3);
    spec.failed_jobs_history_limit.get_or_insert(1);
    spec.job_template.spec.iter_mut().for_each(job_spec);
}

fn job_spec(spec: &mut JobSpec) {
    // Without either number, a job is one pod; with a parallelism alone it is a work queue, which has no number.
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    spec.parallelism.get_or_insert(1);
    let per_index = spec.backoff_limit_per_index.is_some();
    spec.backoff_limit
        .get_or_insert(if per_index { i32::MAX } else { 6 });
    text(&mut spec.completion_mode, "NonIndexed");
    spec.suspend.get_or_insert(false);
    spec.manual_selector.get_or_insert(false);
    let replacement = match spec.pod_failure_policy {
        Some(_) => "Failed",
        None => "TerminatingOrFailed",
    };
    text(&mut spec.pod_replacement_policy, replacement);
    template(&mut spec.template);
}
