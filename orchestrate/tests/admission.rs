//! Defaulting and checking, against what the API server answers.

use ampoule_orchestrate::manifest;
use serde_json::Value;

/// Reads one object and compares one field of it, written as a JSON pointer.
fn completes(yaml: &str, pointer: &str, expect: Value) {
    let objects = manifest::read("test.yaml", yaml).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
    let json = objects[0].to_json();
    assert_eq!(json.pointer(pointer), Some(&expect), "{pointer} of\n{yaml}");
}

/// The message with which a text is refused, without its place.
fn refuses(yaml: &str, expect: &str) {
    let error = manifest::read("test.yaml", yaml)
        .expect_err(yaml)
        .to_string();
    let message = error.splitn(4, ':').nth(3).unwrap_or(&error).trim();
    assert!(
        message.contains(expect),
        "\nexpected {expect}\n   found {message}"
    );
}

fn pod(spec: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {spec}\n")
}

fn deployment(spec: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d}}\nspec: {{selector: {{matchLabels: {{a: b}}}}, \
         template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: c, image: i}}]}}}}, {spec}}}\n"
    )
}

/// Defaults as the API reference states them: <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/>.
#[test]
fn defaults() {
    let plain = pod(
        "{containers: [{name: c, image: 'app:1', ports: [{containerPort: 80}], livenessProbe: {httpGet: {port: 80}}}]}",
    );
    completes(&plain, "/metadata/namespace", "default".into());
    completes(&plain, "/spec/restartPolicy", "Always".into());
    completes(&plain, "/spec/terminationGracePeriodSeconds", 30.into());
    completes(&plain, "/spec/dnsPolicy", "ClusterFirst".into());
    completes(
        &plain,
        "/spec/containers/0/imagePullPolicy",
        "IfNotPresent".into(),
    );
    completes(&plain, "/spec/containers/0/ports/0/protocol", "TCP".into());
    completes(
        &plain,
        "/spec/containers/0/livenessProbe/periodSeconds",
        10.into(),
    );
    completes(
        &plain,
        "/spec/containers/0/livenessProbe/failureThreshold",
        3.into(),
    );
    completes(
        &plain,
        "/spec/containers/0/livenessProbe/httpGet/path",
        "/".into(),
    );
    for (image, policy) in [
        ("app", "Always"),
        ("app:latest", "Always"),
        ("host:5000/app", "Always"),
        ("app@sha256:0", "IfNotPresent"),
    ] {
        let one = pod(&format!("{{containers: [{{name: c, image: '{image}'}}]}}"));
        completes(&one, "/spec/containers/0/imagePullPolicy", policy.into());
    }
    let limited = pod(
        "{containers: [{name: c, image: i, resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 100m}}}]}",
    );
    completes(
        &limited,
        "/spec/containers/0/resources/requests/cpu",
        "100m".into(),
    );
    completes(
        &limited,
        "/spec/containers/0/resources/requests/memory",
        "1Gi".into(),
    );
    completes(
        &deployment("replicas: 2"),
        "/spec/strategy/rollingUpdate/maxSurge",
        "25%".into(),
    );
    completes(&deployment(""), "/spec/replicas", 1.into());
    completes(&deployment(""), "/spec/revisionHistoryLimit", 10.into());
    completes(&deployment(""), "/spec/progressDeadlineSeconds", 600.into());
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}";
    completes(job, "/spec/backoffLimit", 6.into());
    completes(job, "/spec/completions", 1.into());
    completes(job, "/spec/completionMode", "NonIndexed".into());
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}], sessionAffinity: ClientIP}";
    completes(service, "/spec/ports/0/targetPort", 80.into());
    completes(service, "/spec/type", "ClusterIP".into());
    completes(
        service,
        "/spec/sessionAffinityConfig/clientIP/timeoutSeconds",
        10_800.into(),
    );
}

#[test]
fn pods_that_are_refused() {
    refuses(
        &pod("{containers: []}"),
        r#"Pod "p" is invalid: spec.containers: Required value"#,
    );
    refuses(
        &pod("{containers: [{name: c}]}"),
        "spec.containers[0].image: Required value",
    );
    refuses(
        &pod("{containers: [{name: C, image: i}]}"),
        r#"spec.containers[0].name: Invalid value: "C": a lowercase RFC 1123 label must consist of"#,
    );
    refuses(
        &pod("{containers: [{name: c, image: i}, {name: c, image: i}]}"),
        r#"spec.containers[1].name: Duplicate value: "c""#,
    );
    refuses(
        &pod("{restartPolicy: Sometimes, containers: [{name: c, image: i}]}"),
        r#"spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never""#,
    );
    refuses(
        &pod("{containers: [{name: c, image: i, ports: [{containerPort: 70000}]}]}"),
        "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
    );
    refuses(
        &pod("{containers: [{name: c, image: i, volumeMounts: [{name: v, mountPath: /v}]}]}"),
        r#"spec.containers[0].volumeMounts[0].name: Not found: "v""#,
    );
    refuses(
        &pod(
            "{containers: [{name: c, image: i, resources: {requests: {cpu: 2}, limits: {cpu: 1}}}]}",
        ),
        r#"spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1"#,
    );
    refuses(
        &pod("{containers: [{name: c, image: i, resources: {requests: {memory: 1GB}}}]}"),
        "spec.containers[0].resources.requests[memory]: Invalid value: \"1GB\": unable to parse quantity's suffix",
    );
    refuses(
        &pod("{containers: [{name: c, image: i, readinessProbe: {}}]}"),
        "spec.containers[0].readinessProbe: Required value: must specify a handler type",
    );
    refuses(
        &pod(
            "{containers: [{name: c, image: i, livenessProbe: {successThreshold: 2, tcpSocket: {port: 1}}}]}",
        ),
        "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
    );
    refuses(
        &pod(
            "{containers: [{name: c, image: i}], initContainers: [{name: d, image: i, livenessProbe: {tcpSocket: {port: 1}}}]}",
        ),
        "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
    );
    refuses(
        &pod("{containers: [{name: c, image: i}], tolerations: [{operator: Equal, value: v}]}"),
        "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty",
    );
}

#[test]
fn workloads_that_are_refused() {
    refuses(
        &deployment("replicas: -1"),
        r#"Deployment.apps "d" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"#,
    );
    refuses(
        &deployment("strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}"),
        "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
    );
    refuses(
        &deployment("strategy: {rollingUpdate: {maxSurge: half}}"),
        "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"half\": a valid percent string must be",
    );
    refuses(
        &deployment("strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}"),
        "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
    );
    refuses(
        &deployment("minReadySeconds: 600"),
        "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
    );
    refuses(
        &deployment("").replace("labels: {a: b}", "labels: {a: c}"),
        r#"spec.template.metadata.labels: Invalid value: {"a":"c"}: `selector` does not match template `labels`"#,
    );
    let cron = |s: &str| {
        format!(
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: c}}\nspec: {{schedule: '{s}', timeZone: Mars/Base, jobTemplate: {{spec: {{template: {{spec: {{restartPolicy: Always, containers: [{{name: c, image: i}}]}}}}}}}}}}"
        )
    };
    refuses(&cron("* * *"), "spec.schedule: Invalid value: \"* * *\"");
    refuses(
        &cron("@daily"),
        "spec.timeZone: Invalid value: \"Mars/Base\": unknown time zone Mars/Base",
    );
    refuses(
        &cron("@daily"),
        r#"spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never""#,
    );
}

#[test]
fn texts_that_are_refused() {
    refuses(
        "apiVersion: v1\nkind: Pood\n",
        r#"no kind "Pood" in version "v1": did you mean "Pod"?"#,
    );
    refuses(
        "apiVersion: v1\nkind: Deployment\n",
        r#"no kind "Deployment" in version "v1": it is offered in version "apps/v1""#,
    );
    refuses(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\n",
        "kind \"Ingress\" is not offered",
    );
    refuses("kind: Pod\n", "an object needs a \"apiVersion\"");
    refuses(
        &pod("{containers: [{name: c, image: i, env: [{name: A, value: 5}]}]}"),
        "spec.containers[0].env[0].value: expected a text, found the number 5: put it in quotes",
    );
    refuses(
        &deployment("replicas: three"),
        "spec.replicas: expected a number, found the text \"three\"",
    );
    refuses(
        &deployment("replicas: 99999999999"),
        "spec.replicas: invalid value: integer `99999999999`, expected i32",
    );
    refuses("a: 1\na: 2\n", "duplicate");
    refuses("a: [1, 2\n", "");
}

#[test]
fn places_are_exact() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: c\n    image: i\n    ports:\n    - containerPort: many\n";
    let error = manifest::read("web.yaml", text)
        .expect_err("a port is a number")
        .to_string();
    assert!(
        error.starts_with("web.yaml:10:22: spec.containers[0].ports[0].containerPort: "),
        "{error}"
    );
}

/// Nine levels of nine references each: four hundred million nodes when expanded.
#[test]
fn bombs_are_refused_quickly() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let refs = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
    }
    let begun = std::time::Instant::now();
    assert!(manifest::read("bomb.yaml", &text).is_err());
    assert!(
        begun.elapsed().as_secs() < 5,
        "a bomb must be refused before it goes off"
    );
    let deep = "[".repeat(100_000);
    assert!(manifest::read("deep.yaml", &deep).is_err());
}
