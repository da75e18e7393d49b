//! Rules of `linux.resources` that hold on every host (config-linux.md); those of a layout are the plan's.

use oci_spec::runtime::{LinuxResources, Spec};

use super::Faults;

pub(super) fn check(spec: &Spec, faults: &mut Faults) {
    let Some(resources) = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref()) else { return };
    weights(resources, faults);
    rdma(resources, faults);
}

/// "You MUST specify at least one of `weight` or `leafWeight` in a given entry".
fn weights(resources: &LinuxResources, faults: &mut Faults) {
    let devices = resources.block_io().as_ref().and_then(|block_io| block_io.weight_device().as_deref());
    for (index, device) in devices.unwrap_or_default().iter().enumerate() {
        if device.weight().is_none() && device.leaf_weight().is_none() {
            let path = format!("linux.resources.blockIO.weightDevice[{index}]");
            faults.add(path, "needs a weight or a leafWeight");
        }
    }
}

/// "You MUST specify at least one of the `hcaHandles` or `hcaObjects` in a given entry".
fn rdma(resources: &LinuxResources, faults: &mut Faults) {
    let mut empty: Vec<&String> = resources
        .rdma()
        .iter()
        .flatten()
        .filter(|(_, limit)| limit.hca_handles().is_none() && limit.hca_objects().is_none())
        .map(|(device, _)| device)
        .collect();
    empty.sort();
    for device in empty {
        faults.add(format!("linux.resources.rdma.{device}"), "needs hcaHandles or hcaObjects");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{faults_with, one_fault};
    use serde_json::json;

    #[test]
    fn entries_that_say_nothing_are_refused() {
        let with = |resources: serde_json::Value| json!({"linux": {"resources": resources}});
        let weights = |entry: serde_json::Value| with(json!({"blockIO": {"weightDevice": [entry]}}));
        one_fault(weights(json!({"major": 8, "minor": 0})), "blockIO.weightDevice[0]: needs a weight or a");
        assert!(faults_with(weights(json!({"major": 8, "minor": 0, "leafWeight": 10}))).is_empty());
        one_fault(with(json!({"rdma": {"mlx5_1": {}}})), "resources.rdma.mlx5_1: needs hcaHandles or");
        assert!(faults_with(with(json!({"rdma": {"mlx5_1": {"hcaObjects": 3}}}))).is_empty());
    }
}
