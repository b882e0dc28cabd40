//! Who has a large stage: the newest claimant within this process (spec/store.md, "One writer").
//!
//! A claim is the right to use what a stage has open. Every use holds a shared lock on it, so that taking it over waits
//! for the uses that have begun and ends all later ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::{StageKey, StoreError};

/// The claims of a store. `F` is what an open stage holds.
#[derive(Debug)]
pub(crate) struct Claims<F> {
    newest: Mutex<HashMap<StageKey, Arc<Held<F>>>>,
}

/// A claim on one stage. Dropping it gives the stage up.
#[derive(Debug)]
pub(crate) struct Claim<F> {
    claims: Arc<Claims<F>>,
    key: StageKey,
    held: Arc<Held<F>>,
}

/// Nothing once a newer claimant has it, or once it was used up.
type Held<F> = RwLock<Option<F>>;

impl<F> Claims<F> {
    /// No claims.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { newest: Mutex::new(HashMap::new()) })
    }

    /// Claims a stage. `open` is given what an older claimant in this process had open.
    pub(crate) fn claim(
        self: &Arc<Self>,
        key: StageKey,
        open: impl FnOnce(Option<F>) -> Result<F, StoreError>,
    ) -> Result<Claim<F>, StoreError> {
        let held = Arc::new(RwLock::new(None));
        let claim = Claim { claims: self.clone(), key, held: held.clone() };
        // Locked before anyone can see it: a newer claimant waits until this one has opened the stage.
        let mut opened = held.write().unwrap_or_else(PoisonError::into_inner);
        let older = self.locked().insert(key, held.clone());
        let taken = older.and_then(|older| older.write().unwrap_or_else(PoisonError::into_inner).take());
        let result = open(taken);
        match result {
            Ok(files) => *opened = Some(files),
            Err(error) => {
                // The claim's drop takes this lock as well.
                drop(opened);
                return Err(error);
            }
        }
        drop(opened);
        Ok(claim)
    }

    /// Whether somebody has the stage.
    pub(crate) fn is_claimed(&self, key: &StageKey) -> bool {
        self.locked().contains_key(key)
    }

    /// Takes all stages from their claimants, as the end of the process would.
    pub(crate) fn end_all(&self) {
        let all: Vec<_> = self.locked().drain().collect();
        for (_, held) in all {
            held.write().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<StageKey, Arc<Held<F>>>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Claim<F> {
    /// Uses what is open, beside other uses.
    pub(crate) fn using<R>(&self, use_it: impl FnOnce(&F) -> Result<R, StoreError>) -> Result<R, StoreError> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        use_it(held.as_ref().ok_or(StoreError::Superseded)?)
    }

    /// Exchanges what is open for something else, alone.
    pub(crate) fn exchange(
        &self,
        exchange: impl FnOnce(&F) -> Result<F, StoreError>,
    ) -> Result<(), StoreError> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        *held = Some(exchange(held.as_ref().ok_or(StoreError::Superseded)?)?);
        Ok(())
    }

    /// Uses what is open alone, and closes it when that succeeds.
    pub(crate) fn use_up<R>(
        &self,
        use_it: impl FnOnce(&F) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let result = use_it(held.as_ref().ok_or(StoreError::Superseded)?)?;
        held.take();
        Ok(result)
    }
}

impl<F> Drop for Claim<F> {
    fn drop(&mut self) {
        // Closed before it is forgotten: whoever opens the stage in between finds this claim, and waits for its lock.
        self.held.write().unwrap_or_else(PoisonError::into_inner).take();
        let mut newest = self.claims.locked();
        if newest.get(&self.key).is_some_and(|held| Arc::ptr_eq(held, &self.held)) {
            newest.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    const KEY: StageKey = StageKey([1; 32]);

    #[test]
    fn the_newest_takes_over_and_the_older_is_told() {
        let claims = Claims::new();
        let older = claims.claim(KEY, |taken| Ok(taken.unwrap_or(5))).unwrap();
        let newer = claims.claim(KEY, |taken| Ok(taken.unwrap_or(6))).unwrap();
        assert_eq!(newer.using(|&n| Ok(n)).unwrap(), 5, "what was open is handed over");
        assert!(matches!(older.using(|_| Ok(())), Err(StoreError::Superseded)));
        drop(older);
        assert_eq!(newer.using(|&n| Ok(n)).unwrap(), 5, "the end of the older does not touch the newer");
    }

    #[test]
    fn taking_over_waits_for_a_use_that_has_begun() {
        let claims = Claims::new();
        let older = claims.claim(KEY, |_| Ok(Mutex::new(vec!["opened"]))).unwrap();
        let (begun, has_begun) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let older = &older;
            scope.spawn(move || {
                older.using(|log| {
                    begun.send(()).unwrap();
                    may_go.recv().unwrap();
                    log.lock().unwrap().push("written");
                    Ok(())
                })
            });
            has_begun.recv().unwrap();
            let newer = scope.spawn(|| {
                let newer = claims.claim(KEY, |taken| Ok(taken.unwrap())).unwrap();
                newer.using(|log| Ok(log.lock().unwrap().clone())).unwrap()
            });
            thread::sleep(std::time::Duration::from_millis(20));
            assert!(!newer.is_finished());
            go.send(()).unwrap();
            assert_eq!(newer.join().unwrap(), ["opened", "written"]);
        });
    }

    #[test]
    fn failing_to_open_leaves_nothing_claimed() {
        let claims = Claims::<u8>::new();
        assert!(matches!(claims.claim(KEY, |_| Err(StoreError::Busy)), Err(StoreError::Busy)));
        assert!(claims.locked().is_empty());
        let claim = claims.claim(KEY, |taken| Ok(taken.map_or(1, |_| 2))).unwrap();
        assert!(claim.use_up(|_| Err::<(), _>(StoreError::Busy)).is_err());
        assert!(claim.exchange(|_| Err(StoreError::Busy)).is_err());
        claim.exchange(|&n| Ok(n + 1)).unwrap();
        assert_eq!(claim.use_up(|&n| Ok(n)).unwrap(), 2);
        assert!(matches!(claim.exchange(|&n| Ok(n)), Err(StoreError::Superseded)));
        assert!(matches!(claim.using(|_| Ok(())), Err(StoreError::Superseded)));
        drop(claim);
        assert!(claims.locked().is_empty());
    }
}
