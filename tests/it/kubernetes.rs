//! examples/kubernetes: the manifests follow Kubernetes' schema and fit together; what is in them serves, and
//! its probes tell the truth. No cluster is started.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::clients::{environment, output, python};
use crate::readme::{read, repository};
use crate::schema::assert_valid;
use crate::support::*;

const MANIFESTS: &str = "examples/kubernetes/writethrough.yaml";

/// The manifests, read by Python's yaml. `None`, with a line that says so, where that is missing.
fn manifests() -> Option<Vec<Value>> {
    let has_yaml = python().args(["-c", "import yaml"]).output().is_ok_and(|o| o.status.success());
    if !has_yaml {
        eprintln!("skipped: no python3-yaml");
        return None;
    }
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))";
    let text = output(
        python()
            .args(["-c", script])
            .stdin(std::fs::File::open(repository(MANIFESTS)).expect(MANIFESTS)),
    );
    Some(serde_json::from_str(&text).expect("a list"))
}

fn of_kind<'a>(manifests: &'a [Value], kind: &str) -> &'a Value {
    manifests
        .iter()
        .find(|manifest| manifest["kind"] == kind)
        .unwrap_or_else(|| panic!("no {kind}"))
}

fn container(manifests: &[Value]) -> &Value {
    &of_kind(manifests, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

#[test]
fn the_manifests_follow_the_schema() {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let package = "kubernetes-validate";
    let python = PYTHON.get_or_init(|| environment(package, package, "kubernetes_validate"));
    let Some(python) = python else { return };
    let script = "
import sys, yaml, kubernetes_validate as k
for resource in yaml.safe_load_all(open(sys.argv[1])):
    k.validate(resource, '.'.join(k.latest_version().split('.')[:2]), strict=True)
    print(resource['kind'])
";
    let said = output(Command::new(python).args(["-c", script]).arg(repository(MANIFESTS)));
    let kinds: Vec<&str> = said.lines().collect();
    assert_eq!(kinds, ["ConfigMap", "Service", "StatefulSet", "NetworkPolicy"]);
}

#[test]
fn the_manifests_fit_together() {
    let Some(manifests) = manifests() else { return };
    let set = &of_kind(&manifests, "StatefulSet")["spec"];
    let labels = &set["template"]["metadata"]["labels"];
    assert_eq!(&set["selector"]["matchLabels"], labels);
    let service = of_kind(&manifests, "Service");
    assert_eq!(&service["spec"]["selector"], labels);
    assert_eq!(service["metadata"]["name"], set["serviceName"]);
    let policy = &of_kind(&manifests, "NetworkPolicy")["spec"];
    assert_eq!(&policy["podSelector"]["matchLabels"], labels);
    let port = &container(&manifests)["ports"][0]["name"];
    assert_eq!(&service["spec"]["ports"][0]["targetPort"], port);
    assert_eq!(&policy["ingress"][0]["ports"][0]["port"], port);

    let pod = &set["template"]["spec"];
    let names = |list: &Value, place: &str| -> BTreeSet<String> {
        let list = list.as_array().expect("a list").iter();
        list.map(|item| text(item.pointer(place).expect("a name")).to_owned()).collect()
    };
    let mut volumes = names(&pod["volumes"], "/name");
    volumes.extend(names(&set["volumeClaimTemplates"], "/metadata/name"));
    assert_eq!(names(&container(&manifests)["volumeMounts"], "/name"), volumes);
    let config = of_kind(&manifests, "ConfigMap");
    assert_eq!(pod["volumes"][0]["configMap"]["name"], config["metadata"]["name"]);

    // What it names is where the volumes and the image have it.
    let mounts = names(&container(&manifests)["volumeMounts"], "/mountPath");
    let parent = |path: &str| Path::new(path).parent().expect("a folder").display().to_string();
    let conf = text(&config["data"]["redis.conf"]);
    let load = conf.lines().find_map(|line| line.strip_prefix("loadmodule ")).expect("loadmodule");
    let words: Vec<&str> = load.split(' ').collect();
    assert!(read("docker/Dockerfile").contains(words[0]), "{}", words[0]);
    assert!(mounts.contains(&parent(words[2])) && words[2].ends_with("/writethrough.json"));
    let args = text(&container(&manifests)["args"][0]);
    assert!(mounts.contains(&parent(args)) && args.ends_with("/redis.conf"));
    assert!(mounts.contains("/data") && conf.contains("\ndir /data\n"));
    let env = &container(&manifests)["env"][0];
    assert!(read("docker/entrypoint.sh").contains(text(&env["name"])));
    assert!(mounts.contains(&parent(text(&env["value"]))));
    // The user of the image.
    let user = format!("\nUSER {}\n", pod["securityContext"]["runAsUser"]);
    assert!(read("docker/Dockerfile").contains(&user));
    let version = env!("CARGO_PKG_VERSION");
    assert!(text(&container(&manifests)["image"]).ends_with(&format!(":{version}")), "{version}");
}

#[test]
fn the_configuration_serves_and_its_probes_tell() {
    let Some(manifests) = manifests() else { return };
    let data = &of_kind(&manifests, "ConfigMap")["data"];
    let document: Value = serde_json::from_str(text(&data["writethrough.json"])).expect("JSON");
    assert_valid(MANIFESTS, &document);

    let server = Arc::new(PostgresServer::start_new());
    let lines = text(&data["redis.conf"]).lines().filter(|line| {
        !line.starts_with('#') && !["loadmodule", "dir"].contains(&line.split(' ').next().unwrap())
    });
    let builder = Stack::users()
        .told_soon_of_outages()
        .postgres(&server)
        .option("mappings", document["mappings"].clone());
    let s = lines.fold(builder, |builder, line| builder.redis_conf(line)).start();
    s.add_user(1);
    assert_eq!(s.run("DEL users:1"), int(1));
    assert_eq!(s.run("HGET users:1 username"), bulk("u1"));

    // `redis-cli` in the container talks to this server.
    let bin = PathBuf::from(s.file("bin", "")).with_extension("d");
    std::fs::create_dir(&bin).expect("a folder");
    let port = s.redis.port();
    let script = format!("#!/bin/sh\nPATH=${{PATH#*:}}\nexec redis-cli -p {port} \"$@\"\n");
    std::fs::write(bin.join("redis-cli"), script).expect("a script");
    std::fs::set_permissions(bin.join("redis-cli"), PermissionsExt::from_mode(0o755))
        .expect("0755");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
    let says_yes = |probe: &str| {
        let command = &container(&manifests)[probe]["exec"]["command"];
        let words: Vec<&str> = command.as_array().expect("words").iter().map(text).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("PATH", &path).status().expect("sh").success()
    };
    eventually("it is ready", || says_yes("readinessProbe"));
    assert!(says_yes("startupProbe") && says_yes("livenessProbe"));
    server.stop_fast();
    assert!(s.run_late("HSET __{users:1} first a").is_error());
    eventually("it is not ready", || !says_yes("readinessProbe"));
    assert!(says_yes("livenessProbe"), "it is alive");
    server.start_again();
    eventually("it is ready again", || says_yes("readinessProbe"));
}
