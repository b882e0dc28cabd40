//! The entries of a directory on a server, whole or page by page as they come.

use sft_wire::message::{Body, Entry};

use crate::client::sorted;
use crate::error::RequestError;
use crate::session::Answers;

/// A directory being listed. Pages that came wait in memory until they are taken.
#[derive(Debug)]
pub struct Listing {
    first: Option<Vec<Entry>>,
    answers: Answers,
    ended: bool,
}

impl Listing {
    /// Waits for the first page: until it is there, a lost session costs nothing but time.
    pub(crate) async fn begin(mut answers: Answers) -> Option<Result<Self, RequestError>> {
        let first = page(answers.next().await?);
        Some(first.map(|page| Self { first: Some(page), answers, ended: false }))
    }

    /// Some entries more, in no order, each with a path of one name; none when there are no more.
    ///
    /// - Errors: [`RequestError::Lost`] when the session ended between two pages. What was taken already cannot be taken
    ///   back, so that another attempt is the caller's; [`crate::Client::list`] makes it.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Entry>>, RequestError> {
        if self.ended {
            return Ok(None);
        }
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        match self.answers.next().await {
            Some(body) => page(body).map(Some),
            None => self.end(),
        }
    }

    fn end(&mut self) -> Result<Option<Vec<Entry>>, RequestError> {
        self.ended = true;
        if self.answers.is_complete() {
            return Ok(None);
        }
        Err(RequestError::Lost("before the listing was complete".into()))
    }
}

/// All pages together; none when the session ended before the last one.
pub(crate) async fn whole(mut answers: Answers) -> Option<Result<Vec<Entry>, RequestError>> {
    let mut entries = Vec::new();
    while let Some(body) = answers.next().await {
        match page(body) {
            Ok(page) => entries.extend(page),
            Err(error) => return Some(Err(error)),
        }
    }
    answers.is_complete().then_some(Ok(entries))
}

fn page(body: Body) -> Result<Vec<Entry>, RequestError> {
    match sorted(body)? {
        Body::Entries { entries } => Ok(entries),
        _ => Err(RequestError::Misbehaved("list")),
    }
}
