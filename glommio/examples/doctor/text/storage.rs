//! The directory's filesystem and device.

use super::layout::{fact, heading};
use crate::model::{Device, DirectIo, Storage};
use crate::units::{bytes, plural};

pub fn section(storage: &Storage, width: usize) -> String {
    let mut facts = vec![("filesystem", filesystem(storage))];
    match &storage.device {
        Some(found) => {
            facts.push(("device", device(found)));
            facts.push(("poll queues", poll_queues(found)));
        }
        None => facts.push(("device", "no block device".to_string())),
    }
    facts.push(("direct I/O", direct_io(&storage.direct_io)));
    let facts: String = facts
        .iter()
        .map(|(label, text)| fact(label, text, width))
        .collect();
    heading(&format!("Storage of {}", storage.directory)) + &facts
}

fn filesystem(storage: &Storage) -> String {
    let mut text = storage
        .filesystem
        .clone()
        .unwrap_or_else(|| "unknown".to_string());
    if let Some(mount_point) = &storage.mount_point {
        text.push_str(&format!(" mounted on {mount_point}"));
    }
    if let Some(available) = storage.available_bytes {
        text.push_str(&format!(", {} free", bytes(available)));
    }
    text
}

fn device(device: &Device) -> String {
    let disk = match device.disk == device.name {
        true => String::new(),
        false => format!(" of disk {}", device.disk),
    };
    let kind = match device.rotational {
        Some(true) => ", spinning disk",
        Some(false) => ", solid state",
        None => "",
    };
    let transfer = match device.max_transfer_bytes {
        Some(count) => format!(", transfers up to {}", bytes(count as u64)),
        None => String::new(),
    };
    format!(
        "{}{disk} ({}:{}){kind}, blocks of {} (physically {}){transfer}",
        device.name,
        device.major,
        device.minor,
        bytes(device.logical_block_bytes as u64),
        bytes(device.physical_block_bytes as u64),
    )
}

fn poll_queues(device: &Device) -> String {
    match (device.polling, device.poll_queues) {
        (false, _) => "none: completions arrive by interrupt".to_string(),
        (true, Some(count)) => format!(
            "{}: reads can be polled for",
            plural(count as usize, "queue")
        ),
        (true, None) => "yes, the driver does not say how many".to_string(),
    }
}

fn direct_io(direct_io: &DirectIo) -> String {
    if let Some(error) = &direct_io.error {
        return format!("failed: {error}");
    }
    let alignment = match direct_io.alignment_bytes {
        Some(count) => format!("aligned to {}", bytes(count)),
        None => "alignment unknown".to_string(),
    };
    match direct_io.supported {
        Some(true) => format!("yes, {alignment}"),
        Some(false) => "refused by the filesystem: files go through the page cache".to_string(),
        None => "unknown: no file could be made in the directory".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_called_unknown() {
        let unknown = DirectIo {
            supported: None,
            alignment_bytes: None,
            error: None,
        };
        assert!(direct_io(&unknown).starts_with("unknown"));
        let storage = Storage {
            directory: ".".to_string(),
            filesystem: None,
            mount_point: None,
            available_bytes: None,
            device: None,
            direct_io: unknown,
        };
        assert_eq!(filesystem(&storage), "unknown");
        assert!(section(&storage, 80).contains("no block device"));
    }
}
