//! How people stand, as it is asked for and answered.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::frames::millis;
use crate::domain::ids::UserId;
use crate::domain::standing::{Availability, Standing};
use crate::edge::http::{ErrorCode, Problem};

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct PresenceQuery {
    /// Ids of users, with commas between; at most 100.
    #[serde(alias = "user_ids")]
    #[param(
        example = "01890a5d-ac96-774b-bcce-b302099a8057",
        pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(,[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}){0,99}$"
    )]
    user_ids: String,
}

impl PresenceQuery {
    /// Whom it asks for.
    ///
    /// # Errors
    /// 400 for what is no id, 422 for more than `max`.
    pub fn users(&self, max: usize) -> Result<Vec<UserId>, Problem> {
        let Ok(users) = self.user_ids.split(',').map(str::parse).collect::<Result<Vec<UserId>, _>>() else {
            return Err(Problem::new(ErrorCode::BadParameter).detail("userIds: ids with commas between"));
        };
        if users.len() > max {
            return Err(Problem::new(ErrorCode::InvalidBody).detail(format!("userIds: at most {max}")));
        }
        Ok(users)
    }
}

#[derive(Serialize, ToSchema)]
pub struct PresenceList {
    /// In the order of the question. Whoever I may not see is left out, as if there was no such user.
    pub items: Vec<PresenceView>,
}

/// How somebody stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PresenceView {
    user_id: UserId,
    status: Availability,
    /// When the last connection was closed, epoch ms. Null unless `offline`, and for who was never here.
    #[schema(required)]
    last_seen: Option<i64>,
}

impl From<&Standing> for PresenceView {
    fn from(standing: &Standing) -> Self {
        let Standing { user, availability, last_seen, .. } = *standing;
        Self { user_id: user, status: availability, last_seen: millis(last_seen) }
    }
}
