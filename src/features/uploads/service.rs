//! Receives files, and shows them to who may read them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::db::{PgPool, within_deadline};
use crate::domain::clock::SharedClock;
use crate::domain::ids::{UploadId, UserId};
use crate::features::channels::{Operation, access};
use crate::features::uploads::config::Config;
use crate::features::uploads::error::UploadsError;
use crate::features::uploads::model::{Offer, Standing, Upload};
use crate::features::uploads::places::{Place, Places};
use crate::features::uploads::receiving::{self, Expected};
use crate::features::uploads::repository::{self, Coming, Reserved};
use crate::ports::blobs::{BlobError, Blobs};
use crate::ports::throttle::Throttle;
use crate::shutdown::Shutdown;

/// A row whose node says nothing for so many times as long as a file may take is the sweep's.
const PATIENCE: u32 = 2;
/// After this, the store does nothing more of what it was asked and did not answer.
const SETTLING: Duration = Duration::from_mins(1);

pub struct Settings {
    pub pool: PgPool,
    pub clock: SharedClock,
    pub throttle: Arc<dyn Throttle>,
    /// None: uploads are off.
    pub blobs: Option<Blobs>,
    pub working: Shutdown,
    pub config: Config,
}

pub struct Service {
    pub(super) pool: PgPool,
    pub(super) clock: SharedClock,
    throttle: Arc<dyn Throttle>,
    blobs: Option<Blobs>,
    receiving: Places,
    sending: Places,
    pub(super) working: Shutdown,
    pub(super) config: Config,
}

impl Service {
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        let Settings { pool, clock, throttle, blobs, working, config } = settings;
        let receiving = metrics::gauge!("fanlight_uploads_receiving");
        let receiving = Places::new(config.receiving_max, config.receiving_per_user_max, receiving);
        let sending = metrics::gauge!("fanlight_uploads_sending");
        let sending = Places::new(config.sending_max, config.sending_per_user_max, sending);
        Arc::new(Self { pool, clock, throttle, blobs, receiving, sending, working, config })
    }

    pub(super) fn blobs(&self) -> Result<&Blobs, UploadsError> {
        self.blobs.as_ref().ok_or(UploadsError::Disabled)
    }

    /// Receives a file. It is there as a whole when this returns, or nothing of it.
    pub async fn receive(
        self: &Arc<Self>,
        user: UserId,
        offer: Offer,
        body: Body,
    ) -> Result<Upload, UploadsError> {
        let result = match self.prepare(user, &offer).await {
            Ok((id, place)) => self.receive_apart(id, place, offer, body).await,
            Err(error) => Err(error),
        };
        let word = result.as_ref().map_or_else(UploadsError::result, |_| "stored");
        metrics::counter!("fanlight_uploads_total", "result" => word).increment(1);
        result
    }

    /// Decides whether there is room for it, and keeps that.
    async fn prepare(&self, user: UserId, offer: &Offer) -> Result<(UploadId, Place), UploadsError> {
        self.blobs()?;
        match offer.bytes {
            Some(0) => return Err(UploadsError::Empty),
            Some(bytes) if bytes > self.config.bytes_max => return Err(UploadsError::TooLarge),
            _ => {}
        }
        let verdict = self.throttle.hit(&format!("upload:{user}"), self.config.uploads()).await?;
        verdict.allowed("upload").map_err(|retry_after| UploadsError::TooMany { retry_after })?;
        let place = self.receiving.take(user)?;
        let (id, now) = (UploadId::generate(), self.clock.now());
        let coming = Coming {
            id,
            user,
            name: &offer.name,
            content_type: offer.kind.content_type,
            bytes: signed(offer.bytes.unwrap_or(self.config.bytes_max)),
            now,
            expires_at: now + self.config.transfer_timeout() * PATIENCE,
        };
        let reserving = repository::reserve(&self.pool, &coming, signed(self.config.quota_bytes_per_user));
        match within_deadline(reserving).await? {
            Reserved::Kept => Ok((id, place)),
            Reserved::NoRoom => Err(UploadsError::QuotaExceeded),
            Reserved::NoAccount => Err(UploadsError::NoAccount),
        }
    }

    /// In a task of its own: whoever is asked and goes in the midst of it still has to clean up.
    async fn receive_apart(
        self: &Arc<Self>,
        id: UploadId,
        place: Place,
        offer: Offer,
        body: Body,
    ) -> Result<Upload, UploadsError> {
        let (answer, answered) = oneshot::channel();
        let service = Arc::clone(self);
        self.working.spawn_light(async move {
            let result = service.store(id, &offer, body).await;
            drop(place);
            // Who has asked may have gone.
            let _unheard = answer.send(result);
        });
        answered.await.unwrap_or(Err(UploadsError::Unavailable))
    }

    async fn store(&self, id: UploadId, offer: &Offer, body: Body) -> Result<Upload, UploadsError> {
        let blobs = self.blobs()?;
        let expected = Expected {
            kind: offer.kind,
            bytes_max: offer.bytes.unwrap_or(self.config.bytes_max),
            is_exact: offer.bytes.is_some(),
        };
        let mut writing = blobs.begin(id.0);
        let pouring = timeout(self.config.transfer_timeout(), receiving::pour(body, &mut writing, &expected));
        let received = match self.working.unless_stopped(pouring).await {
            Some(Ok(received)) => received,
            Some(Err(_)) => Err(UploadsError::TooSlow),
            // Another node will take it.
            None => Err(UploadsError::Unavailable),
        };
        let result = match received {
            Ok(received) => {
                let expires_at = self.clock.now() + self.config.unattached_ttl();
                let arrived =
                    within_deadline(repository::arrived(&self.pool, id, &received, expires_at)).await;
                arrived.map_err(UploadsError::from).and_then(|upload| upload.ok_or(UploadsError::GivenUp))
            }
            Err(error) => {
                if let Err(error) = writing.give_up().await {
                    tracing::warn!(%error, upload.id = %id, "parts of a file may be left in the store");
                }
                Err(error)
            }
        };
        if let Err(error) = &result {
            self.discard(blobs, id, error).await;
        }
        result
    }

    /// Leaves nothing of a file that has not arrived. What the store was asked and did not answer may still come true: that
    /// is left to the sweep, and so is what cannot be done now.
    async fn discard(&self, blobs: &Blobs, id: UploadId, error: &UploadsError) {
        let now = self.clock.now();
        let over_at = if error.is_settled() { now } else { now + SETTLING };
        let ended = within_deadline(repository::end(&self.pool, id, over_at)).await;
        // Ended first: a row that can still be attached must not lead to nothing. Without a row, no sweep will come.
        let is_ours = ended.is_ok_and(|is_there| error.is_settled() || !is_there);
        let is_gone = is_ours && blobs.remove(id.0).await.is_ok();
        if !is_gone || within_deadline(repository::forget(&self.pool, &[id.0])).await.is_err() {
            tracing::warn!(%error, upload.id = %id, "a file that has not arrived is left to the sweep");
        }
    }

    /// The file, if the user may read it.
    pub async fn find(&self, user: UserId, id: UploadId) -> Result<Upload, UploadsError> {
        let (upload, standing) = self.standing(id).await?;
        match standing {
            Standing::Unattached(sender) if sender == user => Ok(upload),
            Standing::Unattached(_) => Err(UploadsError::NotFound),
            Standing::Attached { channel, .. } => {
                let access = access(&self.pool, user, channel).await?.ok_or(UploadsError::NotFound)?;
                access.allows(Operation::Read)?;
                Ok(upload)
            }
        }
    }

    async fn standing(&self, id: UploadId) -> Result<(Upload, Standing), UploadsError> {
        self.blobs()?;
        repository::find(&self.pool, id, self.clock.now()).await?.ok_or(UploadsError::NotFound)
    }

    /// What these bytes of the file are, as fast as they are read, within the time that a file may take.
    pub async fn read(
        &self,
        user: UserId,
        upload: &Upload,
        bytes: std::ops::Range<u64>,
    ) -> Result<Body, UploadsError> {
        let place = self.sending.take(user)?;
        let content = match self.blobs()?.read(upload.id.0, bytes).await {
            Err(BlobError::Missing) => {
                // Deleted since it was found, unless the store has lost it.
                tracing::warn!(upload.id = %upload.id, "the store has no such file");
                return Err(UploadsError::NotFound);
            }
            content => content?,
        };
        let deadline = tokio::time::sleep(self.config.transfer_timeout());
        let counted = content.take_until(deadline).map(move |piece| {
            let _until_the_end: &Place = &place;
            piece.inspect(|piece| {
                metrics::counter!("fanlight_download_bytes_total").increment(piece.len() as u64);
            })
        });
        Ok(Body::from_stream(counted))
    }

    /// Ends a file that nobody has attached. Its sender may.
    pub async fn delete(&self, user: UserId, id: UploadId) -> Result<(), UploadsError> {
        let (_, standing) = self.standing(id).await?;
        match standing {
            Standing::Unattached(sender) if sender == user => {}
            Standing::Attached { sender: Some(sender), .. } if sender == user => {
                return Err(UploadsError::Attached);
            }
            Standing::Attached { .. } | Standing::Unattached(_) => {
                // Who may read it may know of it.
                self.find(user, id).await?;
                return Err(UploadsError::Forbidden);
            }
        }
        // Attached in this very moment.
        if repository::end(&self.pool, id, self.clock.now()).await? {
            Ok(())
        } else {
            Err(UploadsError::Attached)
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
