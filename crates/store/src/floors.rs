//! What names remember of their plugins, also after those are gone.

use semver::Version;
use sqlx::SqliteConnection;

use super::StoreError;
use super::plugins::read;
use plugbay_domain::PluginName;

/// What a name remembers after its plugin is gone.
#[derive(Clone, Debug)]
pub struct Floor {
    /// The highest version that ever served.
    pub version: Version,
    /// Whether any version was signed.
    pub ever_signed: bool,
}

/// What a name remembers.
pub async fn find(connection: &mut SqliteConnection, name: &PluginName) -> Result<Option<Floor>, StoreError> {
    let name = name.as_str();
    let row = sqlx::query!(r#"SELECT version, ever_signed AS "ever_signed: bool" FROM floors WHERE name = ?"#, name)
        .fetch_optional(connection)
        .await?;
    row.map(|row| Ok(Floor { version: read("floors", name, &row.version)?, ever_signed: row.ever_signed })).transpose()
}

/// Lowers what a name remembers, as the version was taken back. That it was signed is not forgotten.
pub async fn take_back(
    connection: &mut SqliteConnection,
    name: &PluginName,
    version: &Version,
) -> Result<(), StoreError> {
    let (name, version) = (name.as_str(), version.to_string());
    sqlx::query!("UPDATE floors SET version = ? WHERE name = ?", version, name).execute(connection).await?;
    Ok(())
}

/// Raises what a name remembers: the version never goes down, a signature is never forgotten.
pub async fn raise(
    connection: &mut SqliteConnection,
    name: &PluginName,
    version: &Version,
    signed: bool,
) -> Result<(), StoreError> {
    let floor = match find(connection, name).await? {
        Some(floor) => Floor { version: floor.version.max(version.clone()), ever_signed: floor.ever_signed || signed },
        None => Floor { version: version.clone(), ever_signed: signed },
    };
    let (name, version) = (name.as_str(), floor.version.to_string());
    sqlx::query!(
        "INSERT INTO floors (name, version, ever_signed) VALUES (?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET version = excluded.version, ever_signed = excluded.ever_signed",
        name,
        version,
        floor.ever_signed,
    )
    .execute(connection)
    .await?;
    Ok(())
}
