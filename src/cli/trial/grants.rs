//! What a plugin is granted in a trial.

use crate::cli::client::{flag_text, permission_item};
use crate::cli::failure::{Failure, Local};
use crate::domain::{Permission, Risk, UnknownPermission, Word as _};
use crate::wire::{ApproveRequest, PermissionItem, PermissionsShown};

/// Reads `--grant`: permissions with a comma between them, each perhaps with parts that have commas, too.
pub(super) fn read(flags: &[String]) -> Result<Vec<PermissionItem>, Failure> {
    let mut texts: Vec<String> = Vec::new();
    for flag in flags {
        let begun = texts.len();
        for piece in flag.split(',') {
            let word = piece.split(':').next().unwrap_or_default();
            let known: Result<Permission, UnknownPermission> = word.trim().parse();
            match (known, texts[begun..].last_mut().filter(|text| text.contains(':'))) {
                (Ok(_), _) => texts.push(piece.trim().to_owned()),
                (Err(_), Some(last)) => last.extend([",", piece]),
                (Err(unknown), None) => {
                    let how = "--grant chat_access,network_access:api.example.com";
                    return Err(Failure::local(Local::Usage, format!("--grant: {unknown}"), how));
                }
            }
        }
    }
    Ok(texts.iter().map(|text| permission_item(text)).collect())
}

/// The decision of an administrator who agrees: nothing is at stake where everything is thrown away.
pub(super) fn decision(grant: &[PermissionItem]) -> ApproveRequest {
    let accept_risks = Risk::ALL.iter().map(ToString::to_string).collect();
    ApproveRequest { grant: grant.to_vec(), accept_risks, ..ApproveRequest::default() }
}

/// The flag that grants what is still needed.
pub(super) fn flag(shown: &PermissionsShown) -> String {
    let pending: Vec<String> = shown.permissions.pending.iter().map(flag_text).collect();
    format!("--grant {}", pending.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(flags: &[&str]) -> Result<Vec<String>, String> {
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        read(&flags).map(|items| items.iter().map(flag_text).collect()).map_err(|failure| failure.detail)
    }

    #[test]
    fn a_comma_ends_a_permission_where_another_one_begins() {
        let read =
            texts(&["chat_access,database_read:chat,crm,network_access:tcp://a.example:1", "api_access"]).unwrap();
        assert_eq!(read, ["chat_access", "database_read:chat,crm", "network_access:tcp://a.example:1", "api_access"]);
        for wrong in ["chat_access,crm", "chat", "", "api_access,"] {
            assert!(texts(&[wrong]).unwrap_err().contains("unknown permission"), "{wrong}");
        }
        assert!(texts(&["database_read:chat", "crm"]).is_err(), "a flag is read by itself");
    }
}
