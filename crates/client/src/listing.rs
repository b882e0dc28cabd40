//! The entries of a directory on a server, page by page as they come.

use sft_base::EntryPath;
use sft_wire::message::{Body, Entry, Op};

use crate::client::{Answer, Client};
use crate::error::RequestError;
use crate::session::Answers;

/// A directory being listed. Pages that came wait in memory until they are taken.
#[derive(Debug)]
pub struct Listing {
    first: Option<Body>,
    answers: Answers,
    ended: bool,
}

/// The first page, and where the others come from.
struct Begun(Body, Answers);

impl Listing {
    /// Asks, and waits for the first page: until it is there, a lost session costs nothing but time.
    pub(crate) async fn begin(client: Client, path: EntryPath) -> Result<Self, RequestError> {
        let Begun(first, answers) = client
            .persist(|session| {
                let op = Op::List { path: path.clone() };
                async move {
                    let mut answers = session.ask(op).await;
                    answers.next().await.map(|body| Begun(body, answers))
                }
            })
            .await?;
        Ok(Self { first: Some(first), answers, ended: false })
    }

    /// Some entries more, in no order, each with a path of one name; none when there are no more.
    ///
    /// - Errors: [`RequestError::Lost`] when the session ended between two pages.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Entry>>, RequestError> {
        if self.ended {
            return Ok(None);
        }
        let body = match self.first.take() {
            Some(body) => Some(body),
            None => self.answers.next().await,
        };
        match body.map(Answer::check).transpose()? {
            Some(Body::Entries { entries }) => Ok(Some(entries)),
            Some(_) => Err(RequestError::Misbehaved("list")),
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

impl Answer for Begun {
    fn check(self) -> Result<Self, RequestError> {
        let Self(body, answers) = self;
        body.check().map(|body| Self(body, answers))
    }
}
