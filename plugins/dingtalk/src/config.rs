//! The plugin's section of the configuration.

use serde::Deserialize;
use watchfire_plugin::{Error, Result};

/// JSON Schema of [`Config`].
pub(crate) const SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["access_token"],
  "properties": {
    "url": {"type": "string", "description": "Where the robot takes messages. Default: https://oapi.dingtalk.com/robot/send"},
    "access_token": {"type": "string", "x-secret": true, "description": "What stands behind access_token= in the robot's webhook address"},
    "sign_secret": {"type": "string", "x-secret": true, "description": "The robot's secret (SEC…), if its security setting is a signature"},
    "keyword": {"type": "string", "description": "A word put under each message, if the robot's security setting is keywords"},
    "at_mobiles": {"type": "array", "items": {"type": "string"}, "description": "Mobile numbers of who is mentioned"},
    "at_user_ids": {"type": "array", "items": {"type": "string"}, "description": "User ids of who is mentioned"},
    "at_all": {"type": "boolean", "description": "Whether the whole group is mentioned. Default: false"},
    "at_level": {"type": "string", "enum": ["INFO", "WARNING", "ERROR", "CRITICAL"], "description": "The least level at which somebody is mentioned. Default: ERROR"},
    "language": {"type": "string", "enum": ["en", "zh"], "description": "Language of messages. Default: en"}
  }
}"#;

/// The plugin's section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the robot takes messages.
    pub url: String,
    /// A placeholder, not used: URLs need one of another encoding.
    #[serde(rename = "access_token")]
    _access_token: Option<String>,
    /// As that one.
    #[serde(rename = "sign_secret")]
    _sign_secret: Option<String>,
    /// What is put under each message.
    pub keyword: String,
    /// Who is mentioned, by mobile number.
    pub at_mobiles: Vec<String>,
    /// Who is mentioned, by user id.
    pub at_user_ids: Vec<String>,
    /// Whether everybody is.
    pub at_all: bool,
    /// From which level on.
    pub at_level: Level,
    /// Of what the plugin itself says.
    pub language: Language,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: format!("{}/robot/send", super::HOST),
            _access_token: None,
            _sign_secret: None,
            keyword: String::new(),
            at_mobiles: Vec::new(),
            at_user_ids: Vec::new(),
            at_all: false,
            at_level: Level::Error,
            language: Language::En,
        }
    }
}

/// How serious an alert is, as it crosses to a plugin.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Good to know.
    Info = 1,
    /// Worth a look.
    Warning,
    /// Something is broken.
    Error,
    /// Somebody must act.
    Critical,
}

/// A language that the plugin speaks.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    En,
    /// Chinese.
    Zh,
}

/// Most people that are mentioned by each of the two ways, and most bytes that name one of them and the keyword.
const MAX_MENTIONED: usize = 50;
const MAX_NAME_BYTES: usize = 64;

impl Config {
    /// Says what makes no sense.
    ///
    /// # Errors
    /// With the key.
    pub fn check(&self) -> Result<()> {
        let is_url = self.url.starts_with("https://") || self.url.starts_with("http://");
        if !is_url || self.url.contains(['#', ' ']) {
            return Err(Error::configuration(format!("url: `{}` is no http or https URL", self.url)));
        }
        if self.url.contains("access_token=") {
            return Err(Error::configuration(
                "url: the access token is a secret: give it under `secrets`, and here what stands before the `?`",
            ));
        }
        for (key, names) in [("at_mobiles", &self.at_mobiles), ("at_user_ids", &self.at_user_ids)] {
            if names.len() > MAX_MENTIONED {
                return Err(Error::configuration(format!(
                    "{key}: at most {MAX_MENTIONED} can be mentioned; at_all mentions everybody"
                )));
            }
            if let Some(name) =
                names.iter().find(|name| name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(char::is_whitespace))
            {
                return Err(Error::configuration(format!("{key}: `{name}` names nobody")));
            }
        }
        if self.keyword.len() > MAX_NAME_BYTES {
            return Err(Error::configuration(format!("keyword: it has more than {MAX_NAME_BYTES} bytes")));
        }
        Ok(())
    }
}
