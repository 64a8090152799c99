//! What each plugin gets of the database: one request in each pool at a time, in turns with the other plugins, and never
//! a connection that the service keeps for itself.
//!
//! A plugin that asks for a thousand things at once stands in each line once. So whoever waits there waits for one short
//! request of every other plugin at most, and the service for one of all plugins together.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{StoreError, WriteTransaction, Writer};
use plugbay_domain::PluginId;

/// Plugins that write at one time. The service stands in line for the one writer itself, behind one of them at most.
const WRITING: usize = 1;

/// What plugins share.
#[derive(Debug)]
pub(super) struct Turns {
    /// Connections that only read, for plugins alone.
    readers: SqlitePool,
    /// Who of the plugins may stand in the line for the writer.
    writing: Arc<Semaphore>,
    shares: Mutex<HashMap<PluginId, Weak<Share>>>,
}

/// The places of one plugin, whichever of its sessions uses them.
#[derive(Debug)]
struct Share {
    reading: Arc<Semaphore>,
    writing: Arc<Semaphore>,
}

/// The database as one plugin gets it.
#[derive(Clone, Debug)]
pub struct PluginStore {
    turns: Arc<Turns>,
    writer: Writer,
    share: Arc<Share>,
}

/// A connection that only reads, in the plugin's turn.
#[derive(Debug)]
pub struct PluginReader {
    connection: PoolConnection<Sqlite>,
    _place: OwnedSemaphorePermit,
}

/// The one place of a plugin among those who write, before its turn has come.
#[derive(Debug)]
pub struct WritePlace {
    turns: Arc<Turns>,
    writer: Writer,
    place: OwnedSemaphorePermit,
}

/// A write transaction in the plugin's turn.
#[derive(Debug)]
pub struct PluginTransaction {
    transaction: WriteTransaction,
    _places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Turns {
    pub(super) fn new(readers: SqlitePool) -> Self {
        Self { readers, writing: Arc::new(Semaphore::new(WRITING)), shares: Mutex::default() }
    }

    pub(super) fn of(self: &Arc<Self>, plugin: PluginId, writer: Writer) -> PluginStore {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let share = shares.get(&plugin).and_then(Weak::upgrade).unwrap_or_else(|| {
            // Those of plugins that have gone.
            shares.retain(|_, share| share.strong_count() > 0);
            let one = || Arc::new(Semaphore::new(1));
            let share = Arc::new(Share { reading: one(), writing: one() });
            shares.insert(plugin, Arc::downgrade(&share));
            share
        });
        PluginStore { turns: Arc::clone(self), writer, share }
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
    }
}

/// Places are never closed, but the type of the error does not tell.
async fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, StoreError> {
    Arc::clone(places).acquire_owned().await.map_err(|_closed| StoreError::Query(sqlx::Error::PoolClosed))
}

impl PluginStore {
    /// A connection that only reads, once the plugin has no other one and its turn has come.
    pub async fn reader(&self) -> Result<PluginReader, StoreError> {
        let place = place(&self.share.reading).await?;
        Ok(PluginReader { connection: self.turns.readers.acquire().await?, _place: place })
    }

    /// The plugin's place among those who write, once no other request of it has it.
    pub async fn write_place(&self) -> Result<WritePlace, StoreError> {
        let (turns, writer) = (Arc::clone(&self.turns), self.writer.clone());
        Ok(WritePlace { turns, writer, place: place(&self.share.writing).await? })
    }

    /// Begins a write transaction, once the plugin has no other one and its turn has come.
    pub async fn begin(&self) -> Result<PluginTransaction, StoreError> {
        self.write_place().await?.begin().await
    }
}

impl WritePlace {
    /// Begins the transaction when the plugin's turn has come.
    pub async fn begin(self) -> Result<PluginTransaction, StoreError> {
        let Self { turns, writer, place: own } = self;
        let among_all = place(&turns.writing).await?;
        let transaction = writer.begin().await?;
        Ok(PluginTransaction { transaction, _places: (own, among_all) })
    }
}

impl PluginTransaction {
    /// The transaction itself, for what is written in one only.
    pub fn transaction(&mut self) -> &mut WriteTransaction {
        &mut self.transaction
    }

    /// Keeps the changes, and lets the next one have its turn.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.transaction.commit().await
    }
}

impl Deref for PluginReader {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for PluginReader {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

impl Deref for PluginTransaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for PluginTransaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Missing, Store};
    use futures_util::FutureExt as _;

    async fn store(folder: &tempfile::TempDir) -> Store {
        Store::open(&folder.path().join("plugbay.db"), Missing::Create).await.unwrap()
    }

    #[tokio::test]
    async fn a_plugin_reads_once_at_a_time_and_others_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let (loud, calm) = (PluginId::generate(), PluginId::generate());
        let first = store.of_plugin(loud).reader().await.unwrap();
        // Another session of the same plugin has the same place.
        assert!(store.of_plugin(loud).reader().now_or_never().is_none());
        drop(store.of_plugin(calm).reader().await.unwrap());
        drop(first);
        drop(store.of_plugin(loud).reader().await.unwrap());
    }

    #[tokio::test]
    async fn plugins_leave_the_readers_of_the_service_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let mut held = Vec::new();
        for _ in 0..super::super::open::PLUGIN_READERS {
            held.push(store.of_plugin(PluginId::generate()).reader().await.unwrap());
        }
        assert!(store.of_plugin(PluginId::generate()).reader().now_or_never().is_none());
        let mut own = Vec::new();
        for _ in 0..super::super::open::READERS {
            own.push(store.reader().await.unwrap());
        }
    }

    #[tokio::test]
    async fn the_service_waits_for_one_plugin_at_most_before_it_writes() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let one = store.of_plugin(PluginId::generate()).begin().await.unwrap();
        let stores: Vec<_> = (0..8).map(|_| store.of_plugin(PluginId::generate())).collect();
        let mut plugins: Vec<_> = stores.iter().map(|store| Box::pin(store.begin())).collect();
        for plugin in &mut plugins {
            assert!(plugin.now_or_never().is_none());
        }
        let mut own = Box::pin(store.begin());
        assert!((&mut own).now_or_never().is_none());
        one.commit().await.unwrap();
        // None of the eight is asked again, so it would wait in vain for one that stood in line before it.
        own.await.unwrap().commit().await.unwrap();
    }

    #[test]
    fn shares_of_plugins_that_have_gone_are_forgotten() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let store = store(&folder).await;
            for _ in 0..100 {
                drop(store.of_plugin(PluginId::generate()));
            }
            assert!(store.turns.shares.lock().unwrap().len() <= 1);
        });
    }
}
