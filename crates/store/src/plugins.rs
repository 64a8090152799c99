//! Plugins, their versions and floors.

use semver::Version;
use sqlx::SqliteConnection;

use super::{StoreError, last_updates};
use plugbay_domain::{
    DataId, Digest, KeyId, Pending, PendingFor, Plugin, PluginId, PluginRecord, PluginRef, Quarantine,
    QuarantineReason, SignatureStatus, Timestamp, Verdict, Word, escape,
};

/// One version of a plugin as stored.
#[derive(Clone, Debug)]
pub struct VersionRecord {
    /// The plugin.
    pub plugin_id: PluginId,
    /// The version.
    pub version: Version,
    /// Hash of the archive; names it and the unpacked package on disk.
    pub digest: Digest,
    /// plugin.yaml as it is in the archive.
    pub manifest: String,
    /// config.yaml as it is in the archive.
    pub default_config: Option<String>,
    /// What the signature was worth when the version came in.
    pub signature_status: SignatureStatus,
    /// The key that signed it.
    pub key_id: Option<KeyId>,
    /// The text of the .minisig file.
    pub signature: Option<String>,
    /// Size of the archive.
    pub archive_bytes: u64,
    /// When it last began to serve, if it ever did.
    pub served_at: Option<Timestamp>,
    /// When it came in.
    pub installed_at: Timestamp,
    /// How its code looks, if it was read.
    pub verdict: Option<Verdict>,
}

/// The version of a plugin that serves.
pub fn serving_of<'a>(plugin: &Plugin, versions: &'a [VersionRecord]) -> Option<&'a VersionRecord> {
    versions.iter().find(|version| version.plugin_id == plugin.id && version.version == plugin.serving)
}

/// A version on its way in, with what is read again only to verify it.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// The version.
    pub record: VersionRecord,
    /// The unpacked files with their hashes, as JSON.
    pub files: String,
    /// What reading its code said, as JSON.
    pub scan: String,
}

#[derive(Debug)]
struct PluginRow {
    id: String,
    name: String,
    status: String,
    serving: String,
    pending: Option<String>,
    pending_for: String,
    signer_changed: bool,
    quarantine_reason: Option<String>,
    quarantined_at: Option<i64>,
    generation: i64,
    last_update: Option<String>,
    installed_at: i64,
    updated_at: i64,
}

/// Reads a stored text, and says which row it is in if that fails.
pub(super) fn read<T: std::str::FromStr>(table: &'static str, row: &str, text: &str) -> Result<T, StoreError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| StoreError::bad_row(table, row, error))
}

fn read_time(table: &'static str, row: &str, millis: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millis(millis).ok_or_else(|| StoreError::bad_row(table, row, format!("time {millis}")))
}

impl TryFrom<PluginRow> for Plugin {
    type Error = StoreError;

    fn try_from(row: PluginRow) -> Result<Self, StoreError> {
        let quarantine = match (&row.quarantine_reason, row.quarantined_at) {
            (Some(reason), Some(since)) => Some(Quarantine {
                reason: read::<QuarantineReason>("plugins", &row.id, reason)?,
                since: read_time("plugins", &row.id, since)?,
            }),
            _ => None,
        };
        let pending = |version: &String| {
            Ok::<_, StoreError>(Pending {
                version: read("plugins", &row.id, version)?,
                waits_for: read("plugins", &row.id, &row.pending_for)?,
                signer_changed: row.signer_changed,
            })
        };
        let record = PluginRecord {
            id: read("plugins", &row.id, &row.id)?,
            name: read("plugins", &row.id, &row.name)?,
            status: read("plugins", &row.id, &row.status)?,
            serving: read("plugins", &row.id, &row.serving)?,
            pending: row.pending.as_ref().map(pending).transpose()?,
            quarantine,
            generation: read_generation("plugins", &row.id, row.generation)?,
            last_update: (row.last_update.as_deref().map(last_updates::read).transpose())
                .map_err(|error| StoreError::bad_row("plugins", &row.id, error))?,
            installed_at: read_time("plugins", &row.id, row.installed_at)?,
            updated_at: read_time("plugins", &row.id, row.updated_at)?,
        };
        Ok(Self::from(record))
    }
}

/// Reads which copy of what a plugin keeps is meant.
pub(super) fn read_data(table: &'static str, plugin: &str, generation: i64) -> Result<DataId, StoreError> {
    Ok(DataId { plugin: read(table, plugin, plugin)?, generation: read_generation(table, plugin, generation)? })
}

pub(super) fn read_generation(table: &'static str, row: &str, number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|error| StoreError::bad_row(table, row, error))
}

#[derive(Debug)]
struct VersionRow {
    plugin_id: String,
    version: String,
    digest: String,
    manifest: String,
    default_config: Option<String>,
    signature_status: String,
    key_id: Option<String>,
    signature: Option<String>,
    archive_bytes: i64,
    last_served_at: Option<i64>,
    installed_at: i64,
    verdict: Option<String>,
}

impl TryFrom<VersionRow> for VersionRecord {
    type Error = StoreError;

    fn try_from(row: VersionRow) -> Result<Self, StoreError> {
        let key = format!("{} {}", row.plugin_id, row.version);
        let archive_bytes = row.archive_bytes.try_into();
        Ok(Self {
            plugin_id: read("versions", &key, &row.plugin_id)?,
            version: read("versions", &key, &row.version)?,
            digest: read("versions", &key, &row.digest)?,
            signature_status: read("versions", &key, &row.signature_status)?,
            key_id: row.key_id.as_deref().map(|id| read("versions", &key, id)).transpose()?,
            archive_bytes: archive_bytes.map_err(|error| StoreError::bad_row("versions", &key, error))?,
            installed_at: read_time("versions", &key, row.installed_at)?,
            manifest: row.manifest,
            default_config: row.default_config,
            signature: row.signature,
            served_at: row.last_served_at.map(|at| read_time("versions", &key, at)).transpose()?,
            verdict: row.verdict.as_deref().map(|word| read_word("versions", &key, word)).transpose()?,
        })
    }
}

/// Adds a plugin; [`StoreError::Exists`] if its name is taken.
pub async fn insert(connection: &mut SqliteConnection, plugin: &Plugin) -> Result<(), StoreError> {
    let (id, status) = (plugin.id.to_string(), plugin.status.as_str());
    let (name, serving) = (plugin.name.as_str(), plugin.serving.to_string());
    let (installed_at, updated_at) = (plugin.installed_at.as_millis(), plugin.updated_at.as_millis());
    sqlx::query!(
        "INSERT INTO plugins (id, name, status, serving, generation, installed_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        id,
        name,
        status,
        serving,
        plugin.generation,
        installed_at,
        updated_at,
    )
    .execute(connection)
    .await
    .map_err(StoreError::of_insert)?;
    Ok(())
}

/// Writes what can change about a plugin.
pub async fn update(connection: &mut SqliteConnection, plugin: &Plugin) -> Result<(), StoreError> {
    let (id, status) = (plugin.id.to_string(), plugin.status.as_str());
    let serving = plugin.serving.to_string();
    let pending = plugin.pending.as_ref().map(|pending| pending.version.to_string());
    let pending_for = plugin.pending.as_ref().map_or(PendingFor::Approval, |pending| pending.waits_for).as_str();
    let signer_changed = plugin.signer_changed();
    let reason = plugin.quarantine.as_ref().map(|quarantine| quarantine.reason.as_str());
    let since = plugin.quarantine.as_ref().map(|quarantine| quarantine.since.as_millis());
    let last_update = plugin.last_update.as_ref().map(last_updates::write).transpose();
    let last_update = last_update.map_err(|error| StoreError::bad_row("plugins", plugin.id, error))?;
    let updated_at = plugin.updated_at.as_millis();
    sqlx::query!(
        "UPDATE plugins
         SET status = ?, serving = ?, pending = ?, pending_for = ?, signer_changed = ?, quarantine_reason = ?,
             quarantined_at = ?, generation = ?, last_update = ?, updated_at = ?
         WHERE id = ?",
        status,
        serving,
        pending,
        pending_for,
        signer_changed,
        reason,
        since,
        plugin.generation,
        last_update,
        updated_at,
        id,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes a plugin with all its versions.
pub async fn delete(connection: &mut SqliteConnection, id: PluginId) -> Result<(), StoreError> {
    let id = id.to_string();
    sqlx::query!("DELETE FROM plugins WHERE id = ?", id).execute(connection).await?;
    Ok(())
}

/// Finds a plugin by id or name.
pub async fn find(connection: &mut SqliteConnection, wanted: &PluginRef) -> Result<Option<Plugin>, StoreError> {
    let (id, name) = match wanted {
        PluginRef::Id(id) => (Some(id.to_string()), None),
        PluginRef::Name(name) => (None, Some(name.to_string())),
    };
    sqlx::query_as!(
        PluginRow,
        r#"SELECT id, name, status, serving, pending, pending_for, signer_changed AS "signer_changed: bool",
                  quarantine_reason, quarantined_at, generation, last_update, installed_at, updated_at
           FROM plugins
           WHERE id = ?1 OR name = ?2"#,
        id,
        name,
    )
    .fetch_optional(connection)
    .await?
    .map(Plugin::try_from)
    .transpose()
}

/// Reads a stored word of a closed set.
fn read_word<T: Word>(table: &'static str, row: &str, text: &str) -> Result<T, StoreError> {
    let found = T::ALL.iter().copied().find(|word| word.as_str() == text);
    found.ok_or_else(|| StoreError::bad_row(table, row, format!("`{}` is unknown", escape(text))))
}

/// Every plugin, by name.
pub async fn list(connection: &mut SqliteConnection) -> Result<Vec<Plugin>, StoreError> {
    let rows = sqlx::query_as!(
        PluginRow,
        r#"SELECT id, name, status, serving, pending, pending_for, signer_changed AS "signer_changed: bool",
                  quarantine_reason, quarantined_at, generation, last_update, installed_at, updated_at
           FROM plugins
           ORDER BY name"#
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Plugin::try_from).collect()
}

/// Adds a version.
pub async fn insert_version(connection: &mut SqliteConnection, new: &NewVersion) -> Result<(), StoreError> {
    let NewVersion { record: version, files, scan } = new;
    let (plugin_id, number) = (version.plugin_id.to_string(), version.version.to_string());
    let (digest, status) = (version.digest.to_hex(), version.signature_status.as_str());
    let key_id = version.key_id.map(|id| id.to_string());
    let archive_bytes = i64::try_from(version.archive_bytes).unwrap_or(i64::MAX);
    let (served, served_at) = (version.served_at.is_some(), version.served_at.map(Timestamp::as_millis));
    let installed_at = version.installed_at.as_millis();
    sqlx::query!(
        "INSERT INTO versions (plugin_id, version, digest, manifest, default_config, files, signature_status, key_id,
                               signature, archive_bytes, served, last_served_at, installed_at, scan)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        plugin_id,
        number,
        digest,
        version.manifest,
        version.default_config,
        files,
        status,
        key_id,
        version.signature,
        archive_bytes,
        served,
        served_at,
        installed_at,
        scan,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that a version begins to serve.
pub async fn note_served(
    connection: &mut SqliteConnection,
    plugin: PluginId,
    version: &Version,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (plugin, version, now) = (plugin.to_string(), version.to_string(), now.as_millis());
    sqlx::query!(
        "UPDATE versions SET served = 1, last_served_at = ? WHERE plugin_id = ? AND version = ?",
        now,
        plugin,
        version,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes one version.
pub async fn delete_version(
    connection: &mut SqliteConnection,
    plugin: PluginId,
    version: &Version,
) -> Result<(), StoreError> {
    let (plugin, version) = (plugin.to_string(), version.to_string());
    sqlx::query!("DELETE FROM versions WHERE plugin_id = ? AND version = ?", plugin, version)
        .execute(connection)
        .await?;
    Ok(())
}

/// The versions of one plugin in the order they came in, or of all when absent.
pub async fn list_versions(
    connection: &mut SqliteConnection,
    plugin: Option<PluginId>,
) -> Result<Vec<VersionRecord>, StoreError> {
    let plugin = plugin.map(|id| id.to_string());
    let rows = sqlx::query_as!(
        VersionRow,
        r#"SELECT plugin_id, version, digest, manifest, default_config, signature_status, key_id, signature,
                  archive_bytes, last_served_at, installed_at, scan ->> '$.verdict' AS "verdict: String"
           FROM versions
           WHERE ?1 IS NULL OR plugin_id = ?1
           ORDER BY plugin_id, installed_at, rowid"#,
        plugin,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(VersionRecord::try_from).collect()
}

/// The unpacked files of a version with their hashes, as JSON. They can be many, so they are read only to verify them.
pub async fn find_files(connection: &mut SqliteConnection, digest: Digest) -> Result<Option<String>, StoreError> {
    let digest = digest.to_hex();
    let files = sqlx::query_scalar!("SELECT files FROM versions WHERE digest = ? LIMIT 1", digest);
    Ok(files.fetch_optional(connection).await?)
}

/// Hashes that any version refers to; everything else on disk is left over.
pub async fn list_digests(connection: &mut SqliteConnection) -> Result<Vec<Digest>, StoreError> {
    let rows = sqlx::query_scalar!("SELECT DISTINCT digest FROM versions").fetch_all(connection).await?;
    rows.iter().map(|digest| read("versions", digest, digest)).collect()
}
