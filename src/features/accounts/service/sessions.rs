//! Opens, refreshes, lists and ends sessions.

use aws_lc_rs::digest;

use super::Service;
use crate::db::PgConnection;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::random;
use crate::features::accounts::error::AccountError;
use crate::features::accounts::model::{Client, Opened, RevokedReason, Session, User};
use crate::features::accounts::repository::{sessions, users};
use crate::features::accounts::revocation::SessionRevoked;
use crate::features::devices;

impl Service {
    /// Opens a session inside the caller's transaction. Also returns the sessions that had to end for it:
    /// announce them after the commit.
    pub(super) async fn open_session(
        &self,
        conn: &mut PgConnection,
        user: User,
        client: &Client,
    ) -> Result<(Opened, Vec<SessionRevoked>), AccountError> {
        let now = self.clock.now();
        let session = sessions::NewSession {
            id: SessionId::generate(),
            user: user.id,
            user_agent: &client.user_agent,
            address: client.address,
            now,
            expires_at: now + self.config.refresh_ttl(),
        };
        sessions::insert(conn, &session).await?;
        let ended = self.end_beyond_max(conn, user.id, now).await?;
        let refresh_token = issue_refresh_token(conn, session.id, now).await?;
        Ok((self.opened(user, session.id, session.expires_at, refresh_token, now), ended))
    }

    async fn end_beyond_max(
        &self,
        conn: &mut PgConnection,
        user: UserId,
        now: Timestamp,
    ) -> Result<Vec<SessionRevoked>, AccountError> {
        let (max, reason) = (self.config.sessions_per_user_max, RevokedReason::TooMany);
        let ended = sessions::revoke_beyond(conn, user, max.into(), reason, now).await?;
        for session in &ended {
            devices::retire_for_session(conn, *session, now).await?;
            count_revoked(reason);
        }
        Ok(ended.into_iter().map(|session| SessionRevoked { session, user }).collect())
    }

    /// Exchanges a refresh token for a new pair of tokens. Each is good for one use: a used one that comes
    /// back ends the session, because one of the two who had it stole it.
    ///
    /// # Errors
    /// [`AccountError::BadRefreshToken`], without saying what is wrong with it.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Opened, AccountError> {
        let hash = hash_of(refresh_token);
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let session = sessions::lock_by_refresh_token(&mut tx, hash.as_ref())
            .await?
            .filter(|session| session.revoked_at.is_none() && session.expires_at > now)
            .ok_or(AccountError::BadRefreshToken)?;
        if !sessions::use_refresh_token(&mut tx, hash.as_ref(), now).await? {
            drop(tx);
            tracing::warn!(user.id = %session.user, session.id = %session.id, "a used refresh token came back");
            self.end_session(session.user, session.id, RevokedReason::RefreshReuse).await?;
            return Err(AccountError::BadRefreshToken);
        }
        let refresh_token = issue_refresh_token(&mut tx, session.id, now).await?;
        sessions::touch(&mut tx, session.id, now).await?;
        let user = users::find(&mut *tx, session.user).await?.ok_or(AccountError::BadRefreshToken)?;
        tx.commit().await?;
        Ok(self.opened(user, session.id, session.expires_at, refresh_token, now))
    }

    /// Ends a session of this very user, and the pushes to the device that it signed in. Returns false if
    /// there is no such live session.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn end_session(
        &self,
        user: UserId,
        session: SessionId,
        reason: RevokedReason,
    ) -> Result<bool, AccountError> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        if !sessions::revoke(&mut tx, user, session, reason, now).await? {
            return Ok(false);
        }
        devices::retire_for_session(&mut tx, session, now).await?;
        tx.commit().await?;
        count_revoked(reason);
        self.announce_all(&[SessionRevoked { session, user }]);
        Ok(true)
    }

    /// The user's live sessions, the last used first.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn sessions(&self, user: UserId) -> Result<Vec<Session>, AccountError> {
        let max = i64::from(self.config.sessions_per_user_max);
        Ok(sessions::list(&self.pool, user, max, self.clock.now()).await?)
    }

    pub(super) fn announce_all(&self, ended: &[SessionRevoked]) {
        for revoked in ended {
            (self.announce)(*revoked);
        }
    }

    fn opened(
        &self,
        user: User,
        session: SessionId,
        expires_at: Timestamp,
        refresh_token: String,
        now: Timestamp,
    ) -> Opened {
        // No token outlives its session.
        let left = (expires_at - now).to_std().unwrap_or_default();
        let ttl = self.config.access_ttl().min(left);
        let access_token = self.keys.mint(user.id, session, now, ttl);
        Opened { user, session, access_token, refresh_token, expires_in: ttl.as_secs() }
    }
}

async fn issue_refresh_token(
    conn: &mut PgConnection,
    session: SessionId,
    now: Timestamp,
) -> Result<String, sqlx::Error> {
    let token = random::secret();
    sessions::insert_refresh_token(conn, hash_of(&token).as_ref(), session, now).await?;
    Ok(token)
}

/// Fast on purpose: 256 random bits need no slow hash.
fn hash_of(refresh_token: &str) -> digest::Digest {
    digest::digest(&digest::SHA256, refresh_token.as_bytes())
}

fn count_revoked(reason: RevokedReason) {
    metrics::counter!("fanlight_accounts_sessions_revoked_total", "reason" => reason.as_str()).increment(1);
}
