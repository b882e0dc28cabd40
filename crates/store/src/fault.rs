//! A store that fails when it is told to, in front of one that works: for tests of what its callers do then.
//!
//! A call that fails does not reach the store behind. To lose what was not flushed, put it in front of a
//! [`crate::MemStore`] and crash that.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sft_base::{EntryPath, Name, Node, Verified};

use crate::{
    Attributes, Listing, NewDir, OpenFile, Publish, Source, Space, Stage, StageKey, Staged, Stat, Store,
    StoreError, Unapplied,
};

/// A [`Store`] with failures to order. Clones share the orders.
#[derive(Clone)]
pub struct FaultStore {
    inner: Arc<dyn Store>,
    orders: Arc<Mutex<Orders>>,
}

/// The calls that are counted, and can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// [`Store::stat`] and [`Source::stat`].
    Stat,
    /// [`Store::list`].
    List,
    /// [`Listing::next_batch`].
    NextBatch,
    /// [`Store::open`].
    Open,
    /// [`Source::read_at`].
    ReadAt,
    /// [`Store::read_link`].
    ReadLink,
    /// [`Store::make_dir`].
    MakeDir,
    /// [`Store::remove`].
    Remove,
    /// [`Store::remove_tree`].
    RemoveTree,
    /// [`Store::rename`].
    Rename,
    /// [`Store::set_attributes`].
    SetAttributes,
    /// [`Store::space`].
    Space,
    /// [`Store::stage_small`] and [`NewDir::stage_small`].
    StageSmall,
    /// [`Store::new_dir`] and [`NewDir::new_dir`].
    NewDir,
    /// [`Store::stage`] and [`Store::stage_sparse`].
    Stage,
    /// [`Stage::write_at`].
    WriteAt,
    /// [`Stage::record`].
    Record,
    /// [`Stage::finish`].
    Finish,
    /// [`Store::publish`] and [`NewDir::publish`].
    Publish,
    /// [`Store::publish_link`].
    PublishLink,
    /// [`Store::open_in_place`].
    OpenInPlace,
    /// [`Store::draft`].
    Draft,
    /// [`Store::publish_draft`].
    PublishDraft,
    /// [`Store::link`].
    Link,
    /// [`crate::OpenFile::write_at`] and [`crate::OpenFile::set_size`].
    WriteInPlace,
    /// [`crate::OpenFile::sync`].
    Sync,
    /// [`Store::flush`].
    Flush,
    /// [`Store::expire_stages`].
    ExpireStages,
}

#[derive(Default)]
struct Orders {
    calls: u64,
    calls_of: HashMap<Op, u64>,
    waiting: Vec<Order>,
    /// Bytes that may still be written.
    space: Option<u64>,
    /// How long each call takes besides.
    slow: HashMap<Op, Duration>,
}

struct Order {
    /// Any, if none.
    op: Option<Op>,
    /// Calls until it is its turn.
    left: u64,
    error: Box<dyn FnOnce() -> StoreError + Send>,
}

struct FaultListing {
    inner: Box<dyn Listing>,
    orders: Arc<Mutex<Orders>>,
}

struct FaultSource {
    inner: Box<dyn Source>,
    orders: Arc<Mutex<Orders>>,
}

struct FaultFile {
    inner: Box<dyn OpenFile>,
    orders: Arc<Mutex<Orders>>,
}

struct FaultNewDir {
    inner: Arc<dyn NewDir>,
    orders: Arc<Mutex<Orders>>,
}

struct FaultStage {
    inner: Box<dyn Stage>,
    orders: Arc<Mutex<Orders>>,
}

impl FaultStore {
    /// In front of `inner`, with nothing ordered.
    pub fn new(inner: impl Store) -> Self {
        Self { inner: Arc::new(inner), orders: Arc::default() }
    }

    /// Has the `nth` call of `op` from now on fail, 1 being the next. One order is for one call.
    pub fn fail(&self, op: Op, nth: u64, error: impl FnOnce() -> StoreError + Send + 'static) {
        let order = Order { op: Some(op), left: nth, error: Box::new(error) };
        lock(&self.orders).waiting.push(order);
    }

    /// Has the `nth` call of whatever kind from now on fail, 1 being the next.
    pub fn fail_any(&self, nth: u64, error: impl FnOnce() -> StoreError + Send + 'static) {
        let order = Order { op: None, left: nth, error: Box::new(error) };
        lock(&self.orders).waiting.push(order);
    }

    /// Leaves room for so many bytes of content more, and gives none back.
    pub fn limit_space(&self, available: u64) {
        lock(&self.orders).space = Some(available);
    }

    /// Has each call of `op` from now on take so much longer, as on a disk that is slow.
    pub fn slow_down(&self, op: Op, by: Duration) {
        lock(&self.orders).slow.insert(op, by);
    }

    /// Calls of every kind so far.
    pub fn calls(&self) -> u64 {
        lock(&self.orders).calls
    }

    /// Calls of `op` so far.
    pub fn calls_of(&self, op: Op) -> u64 {
        lock(&self.orders).calls_of.get(&op).copied().unwrap_or(0)
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultStore").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

impl Store for FaultStore {
    fn without_links(&self) -> Arc<dyn Store> {
        Arc::new(Self { inner: self.inner.without_links(), orders: self.orders.clone() })
    }

    fn stat(&self, path: &EntryPath) -> Result<Stat, StoreError> {
        count(&self.orders, Op::Stat)?;
        self.inner.stat(path)
    }

    fn list(&self, path: &EntryPath) -> Result<Box<dyn Listing>, StoreError> {
        count(&self.orders, Op::List)?;
        Ok(Box::new(FaultListing { inner: self.inner.list(path)?, orders: self.orders.clone() }))
    }

    fn open(&self, path: &EntryPath) -> Result<Box<dyn Source>, StoreError> {
        count(&self.orders, Op::Open)?;
        Ok(Box::new(FaultSource { inner: self.inner.open(path)?, orders: self.orders.clone() }))
    }

    fn read_link(&self, path: &EntryPath) -> Result<Vec<u8>, StoreError> {
        count(&self.orders, Op::ReadLink)?;
        self.inner.read_link(path)
    }

    fn make_dir(&self, path: &EntryPath, mode: u32) -> Result<(), StoreError> {
        count(&self.orders, Op::MakeDir)?;
        self.inner.make_dir(path, mode)
    }

    fn remove(&self, path: &EntryPath) -> Result<(), StoreError> {
        count(&self.orders, Op::Remove)?;
        self.inner.remove(path)
    }

    fn remove_tree(&self, path: &EntryPath) -> Result<u64, StoreError> {
        count(&self.orders, Op::RemoveTree)?;
        self.inner.remove_tree(path)
    }

    fn rename(&self, from: &EntryPath, to: &EntryPath, replace: bool) -> Result<(), StoreError> {
        count(&self.orders, Op::Rename)?;
        self.inner.rename(from, to, replace)
    }

    fn set_attributes(
        &self,
        path: &EntryPath,
        attributes: &Attributes,
    ) -> Result<Vec<Unapplied>, StoreError> {
        count(&self.orders, Op::SetAttributes)?;
        self.inner.set_attributes(path, attributes)
    }

    fn space(&self) -> Result<Space, StoreError> {
        count(&self.orders, Op::Space)?;
        let space = self.inner.space()?;
        let limit = lock(&self.orders).space.unwrap_or(u64::MAX);
        Ok(Space { available: space.available.min(limit), ..space })
    }

    fn stage_small(&self, content: &[u8], attributes: &Attributes) -> Result<Staged, StoreError> {
        count(&self.orders, Op::StageSmall)?;
        take_space(&self.orders, content.len() as u64)?;
        self.inner.stage_small(content, attributes)
    }

    fn new_dir(&self, to: &EntryPath) -> Option<Arc<dyn NewDir>> {
        count(&self.orders, Op::NewDir).ok()?;
        let inner = self.inner.new_dir(to)?;
        Some(Arc::new(FaultNewDir { inner, orders: self.orders.clone() }))
    }

    fn stage_sparse(&self, key: &StageKey, size: u64, occupied: u64) -> Result<Box<dyn Stage>, StoreError> {
        count(&self.orders, Op::Stage)?;
        let inner = self.inner.stage_sparse(key, size, occupied)?;
        let held: u64 = inner.held().iter().map(|node| node.range(size)).map(|r| r.end - r.start).sum();
        check_space(&self.orders, occupied.saturating_sub(held))?;
        Ok(Box::new(FaultStage { inner, orders: self.orders.clone() }))
    }

    fn publish(
        &self,
        staged: Staged,
        verified: Verified,
        to: &EntryPath,
        how: Publish,
        attributes: &Attributes,
    ) -> Result<Vec<Unapplied>, StoreError> {
        count(&self.orders, Op::Publish)?;
        self.inner.publish(staged, verified, to, how, attributes)
    }

    fn publish_link(
        &self,
        target: &[u8],
        to: &EntryPath,
        how: Publish,
        attributes: &Attributes,
    ) -> Result<Vec<Unapplied>, StoreError> {
        count(&self.orders, Op::PublishLink)?;
        self.inner.publish_link(target, to, how, attributes)
    }

    fn open_in_place(&self, path: &EntryPath) -> Result<Box<dyn OpenFile>, StoreError> {
        count(&self.orders, Op::OpenInPlace)?;
        Ok(Box::new(FaultFile { inner: self.inner.open_in_place(path)?, orders: self.orders.clone() }))
    }

    fn draft(&self, mode: u32) -> Result<Box<dyn OpenFile>, StoreError> {
        count(&self.orders, Op::Draft)?;
        Ok(Box::new(FaultFile { inner: self.inner.draft(mode)?, orders: self.orders.clone() }))
    }

    fn publish_draft(&self, draft: &dyn OpenFile, to: &EntryPath, how: Publish) -> Result<(), StoreError> {
        count(&self.orders, Op::PublishDraft)?;
        self.inner.publish_draft(draft, to, how)
    }

    fn link(&self, from: &EntryPath, to: &EntryPath) -> Result<(), StoreError> {
        count(&self.orders, Op::Link)?;
        self.inner.link(from, to)
    }

    fn flush(&self) -> Result<(), StoreError> {
        count(&self.orders, Op::Flush)?;
        self.inner.flush()
    }

    fn expire_stages(&self, older_than: Duration) -> Result<u64, StoreError> {
        count(&self.orders, Op::ExpireStages)?;
        self.inner.expire_stages(older_than)
    }
}

impl Listing for FaultListing {
    fn next_batch(&mut self, max: usize) -> Result<Vec<(Name, Stat)>, StoreError> {
        count(&self.orders, Op::NextBatch)?;
        self.inner.next_batch(max)
    }
}

impl Source for FaultSource {
    fn stat(&self) -> Result<Stat, StoreError> {
        count(&self.orders, Op::Stat)?;
        self.inner.stat()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        count(&self.orders, Op::ReadAt)?;
        self.inner.read_at(offset, buffer)
    }
}

impl Source for FaultFile {
    fn stat(&self) -> Result<Stat, StoreError> {
        count(&self.orders, Op::Stat)?;
        self.inner.stat()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        count(&self.orders, Op::ReadAt)?;
        self.inner.read_at(offset, buffer)
    }
}

impl OpenFile for FaultFile {
    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), StoreError> {
        count(&self.orders, Op::WriteInPlace)?;
        take_space(&self.orders, content.len() as u64)?;
        self.inner.write_at(offset, content)
    }

    fn set_size(&self, size: u64) -> Result<(), StoreError> {
        count(&self.orders, Op::WriteInPlace)?;
        self.inner.set_size(size)
    }

    fn set_attributes(&self, attributes: &Attributes) -> Result<Vec<Unapplied>, StoreError> {
        count(&self.orders, Op::SetAttributes)?;
        self.inner.set_attributes(attributes)
    }

    fn sync(&self) -> Result<(), StoreError> {
        count(&self.orders, Op::Sync)?;
        self.inner.sync()
    }

    /// The one behind, which is the one that its store knows.
    fn as_any(&self) -> &dyn std::any::Any {
        self.inner.as_any()
    }
}

impl fmt::Debug for FaultNewDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl NewDir for FaultNewDir {
    fn stage_small(
        self: Arc<Self>,
        name: &[u8],
        content: &[u8],
        attributes: &Attributes,
    ) -> Result<Option<Staged>, StoreError> {
        count(&self.orders, Op::StageSmall)?;
        take_space(&self.orders, content.len() as u64)?;
        self.inner.clone().stage_small(name, content, attributes)
    }

    fn new_dir(&self, to: &EntryPath) -> Result<Arc<dyn NewDir>, StoreError> {
        count(&self.orders, Op::NewDir)?;
        let inner = self.inner.new_dir(to)?;
        Ok(Arc::new(Self { inner, orders: self.orders.clone() }))
    }

    fn close(&self, files: usize) {
        self.inner.close(files);
    }

    fn publish(&self) -> Result<(), StoreError> {
        count(&self.orders, Op::Publish)?;
        self.inner.publish()
    }
}

impl Stage for FaultStage {
    fn held(&self) -> Vec<Node> {
        self.inner.held()
    }

    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), StoreError> {
        count(&self.orders, Op::WriteAt)?;
        take_space(&self.orders, content.len() as u64)?;
        self.inner.write_at(offset, content)
    }

    fn record(&self, node: &Node) -> Result<(), StoreError> {
        count(&self.orders, Op::Record)?;
        self.inner.record(node)
    }

    fn finish(self: Box<Self>) -> Result<Staged, StoreError> {
        count(&self.orders, Op::Finish)?;
        self.inner.finish()
    }

    fn discard(self: Box<Self>) {
        self.inner.discard();
    }
}

/// Counts a call, and fails it if that was ordered.
fn count(orders: &Mutex<Orders>, op: Op) -> Result<(), StoreError> {
    let slow = lock(orders).slow.get(&op).copied();
    slow.into_iter().for_each(std::thread::sleep);
    let mut orders = lock(orders);
    orders.calls += 1;
    *orders.calls_of.entry(op).or_default() += 1;
    for order in orders.waiting.iter_mut().filter(|order| order.op.is_none_or(|wanted| wanted == op)) {
        order.left = order.left.saturating_sub(1);
    }
    match orders.waiting.iter().position(|order| order.left == 0) {
        Some(due) => Err((orders.waiting.swap_remove(due).error)()),
        None => Ok(()),
    }
}

fn take_space(orders: &Mutex<Orders>, needed: u64) -> Result<(), StoreError> {
    check_space(orders, needed)?;
    if let Some(space) = &mut lock(orders).space {
        *space = space.saturating_sub(needed);
    }
    Ok(())
}

fn check_space(orders: &Mutex<Orders>, needed: u64) -> Result<(), StoreError> {
    match lock(orders).space {
        Some(available) if needed > available => Err(StoreError::NoSpace { needed, available }),
        _ => Ok(()),
    }
}

fn lock(orders: &Mutex<Orders>) -> MutexGuard<'_, Orders> {
    orders.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemStore;

    fn store() -> FaultStore {
        FaultStore::new(MemStore::new())
    }

    #[test]
    fn the_ordered_call_fails_and_no_other() {
        let store = store();
        let root = EntryPath::root();
        store.fail(Op::Stat, 2, || StoreError::Busy);
        store.stat(&root).unwrap();
        store.list(&root).unwrap();
        assert!(matches!(store.stat(&root), Err(StoreError::Busy)));
        store.stat(&root).unwrap();
        store.fail_any(1, || StoreError::Superseded);
        assert!(matches!(store.flush(), Err(StoreError::Superseded)));
        store.flush().unwrap();
        assert_eq!((store.calls(), store.calls_of(Op::Stat), store.calls_of(Op::Open)), (6, 3, 0));
    }

    #[test]
    fn a_failed_call_does_not_reach_the_store() {
        let store = store();
        let path = EntryPath::from_typed(b"d").unwrap();
        store.fail(Op::MakeDir, 1, || StoreError::Busy);
        store.make_dir(&path, 0o755).unwrap_err();
        assert!(matches!(store.stat(&path), Err(StoreError::NotFound { .. })));
    }

    #[test]
    fn space_runs_out_before_and_on_the_way() {
        let store = store();
        let key = StageKey([0; 32]);
        store.limit_space(10);
        assert_eq!(store.space().unwrap().available, 10);
        assert!(matches!(store.stage(&key, 11), Err(StoreError::NoSpace { needed: 11, available: 10 })));
        let stage = store.stage_sparse(&key, 20, 5).unwrap();
        stage.write_at(0, &[1; 8]).unwrap();
        let error = stage.write_at(8, &[1; 8]).unwrap_err();
        assert!(matches!(error, StoreError::NoSpace { needed: 8, available: 2 }));
        assert!(matches!(
            store.stage_small(&[1; 3], &Attributes::default()),
            Err(StoreError::NoSpace { .. })
        ));
        store.stage_small(&[1; 2], &Attributes::default()).unwrap();
    }
}
