//! What clients send beside a file.

use serde::Deserialize;
use utoipa::IntoParams;

use crate::features::uploads::error::UploadsError;
use crate::features::uploads::names::NAME_CHARS_MAX;

/// `?name=`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UploadQuery {
    /// What to call it. Only the last part of a path is kept, and an ending of its type is added where there is none.
    #[param(max_length = 255, example = "photo.png")]
    name: Option<String>,
}

impl UploadQuery {
    /// # Errors
    /// 400 when it is too long.
    pub fn name(self) -> Result<String, UploadsError> {
        let name = self.name.unwrap_or_default();
        if name.chars().count() > NAME_CHARS_MAX {
            return Err(UploadsError::BadName(format!("name: at most {NAME_CHARS_MAX} characters")));
        }
        Ok(name)
    }
}
