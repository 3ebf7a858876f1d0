//! The kinds of values: how each is read from TOML, written as TOML, and described in the schema.
//!
//! In: TOML values. Out: typed values within their range, or the [`Flaw`] that they have. A kind knows one value alone; what
//! several keys must have in common is in `rules.rs`.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;

use toml::Value;
use toml::de::DeValue;

use crate::choice::Choice;
use crate::error::{Flaw, nearest};
use crate::quantity::{SIZE_PATTERN, TIME_PATTERN, size_bytes, size_text, time_text, time_us};
use crate::schema::Json;
use crate::syslog_target::{SyslogTarget, is_host, is_host_and_port};

/// How values of one kind are read and written.
pub(crate) trait Kind: Sync {
    /// The value that it becomes.
    type Of: PartialEq;

    /// How it is written in TOML.
    fn form(&self) -> Form {
        Form::Text
    }

    /// Reads a value.
    fn read(&self, value: &DeValue<'_>) -> Result<Self::Of, Bad>;

    /// Writes a value that `read` has given, such that it would give it again.
    fn write(&self, value: &Self::Of) -> Value;

    /// What the schema says of it, without its description.
    fn schema(&self) -> Vec<(&'static str, Json)>;

    /// What of its range the schema's words cannot say.
    fn range_text(&self) -> Option<String> {
        None
    }
}

/// How a kind is written in TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A string.
    Text,
    /// An array of strings.
    Texts,
    /// An integer or a boolean.
    Bare,
}

/// A flaw, and where in the file it is, if not in the whole value.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(crate) flaw: Flaw,
    pub(crate) span: Option<Range<usize>>,
}

/// `true` or `false`.
pub(crate) struct Flag;

/// A whole number.
pub(crate) struct Count<N> {
    pub(crate) least: u64,
    pub(crate) most: u64,
    /// Makes a narrower number of one in this range.
    pub(crate) narrow: fn(u64) -> N,
}

/// A time, in microseconds.
pub(crate) struct Time {
    pub(crate) least_us: i64,
    pub(crate) most_us: i64,
}

/// A time that may be `"0s"`, which is none.
pub(crate) struct TimeOrNone(pub(crate) Time);

/// Times, each above the one before it.
pub(crate) struct RisingTimes {
    pub(crate) each: Time,
    pub(crate) most_items: usize,
}

/// A size, in bytes.
pub(crate) struct Size {
    pub(crate) least: u64,
    pub(crate) most: u64,
}

/// One of a few words.
pub(crate) struct OneOf<T: 'static>(pub(crate) &'static [T]);

/// Some of a few words, each once.
pub(crate) struct SomeOf<T: 'static>(pub(crate) &'static [T]);

/// Text that is read and written by functions.
pub(crate) struct Text<T> {
    pub(crate) most_bytes: usize,
    /// What it is, with an example.
    pub(crate) expected: &'static str,
    pub(crate) read: fn(&str) -> Option<T>,
    pub(crate) write: fn(&T) -> String,
}

/// Text that may be empty, which is none.
pub(crate) struct TextOrNone<T>(pub(crate) Text<T>);

impl From<Flaw> for Bad {
    fn from(flaw: Flaw) -> Self {
        Self { flaw, span: None }
    }
}

impl Kind for Flag {
    type Of = bool;

    fn form(&self) -> Form {
        Form::Bare
    }

    fn read(&self, value: &DeValue<'_>) -> Result<bool, Bad> {
        value.as_bool().ok_or_else(|| wrong_type("true or false", value))
    }

    fn write(&self, value: &bool) -> Value {
        Value::Boolean(*value)
    }

    fn schema(&self) -> Vec<(&'static str, Json)> {
        vec![("type", Json::text("boolean"))]
    }
}

impl<N: Copy + PartialEq + Into<u64>> Kind for Count<N> {
    type Of = N;

    fn form(&self) -> Form {
        Form::Bare
    }

    fn read(&self, value: &DeValue<'_>) -> Result<N, Bad> {
        let Self { least, most, narrow } = *self;
        let DeValue::Integer(number) = value else { return Err(wrong_type("a whole number", value)) };
        let within = |number: &u64| (least..=most).contains(number);
        match u64::from_str_radix(number.as_str(), number.radix()).ok().filter(within) {
            Some(number) => Ok(narrow(number)),
            None => Err(out_of_range(number, least, most)),
        }
    }

    fn write(&self, value: &N) -> Value {
        let number: u64 = (*value).into();
        Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn schema(&self) -> Vec<(&'static str, Json)> {
        vec![
            ("type", Json::text("integer")),
            ("minimum", Json::Number(self.least)),
            ("maximum", Json::Number(self.most)),
        ]
    }
}

impl Time {
    const EXPECTED: &'static str = "a time such as \"10s\" (a whole number and us, ms, s, m, h or d)";

    fn read_text(&self, text: &str) -> Result<i64, Flaw> {
        let us = time_us(text).ok_or_else(|| wrong_value(text, Self::EXPECTED))?;
        if (self.least_us..=self.most_us).contains(&us) {
            return Ok(us);
        }
        Err(out_of_range(text, time_text(self.least_us), time_text(self.most_us)).flaw)
    }

    fn range(&self) -> String {
        format!("{} to {}", time_text(self.least_us), time_text(self.most_us))
    }
}

impl Kind for Time {
    type Of = i64;

    fn read(&self, value: &DeValue<'_>) -> Result<i64, Bad> {
        Ok(self.read_text(text_of(value, Self::EXPECTED)?)?)
    }

    fn write(&self, value: &i64) -> Value {
        Value::String(time_text(*value))
    }

    fn schema(&self) -> Vec<(&'static str, Json)> {
        vec![("type", Json::text("string")), ("pattern", Json::text(TIME_PATTERN))]
    }

    fn range_text(&self) -> Option<String> {
        Some(self.range())
    }
}

impl Kind for TimeOrNone {
    type Of = Option<i64>;

    fn read(&self, value: &DeValue<'_>) -> Result<Option<i64>, Bad> {
        let text = text_of(value, Time::EXPECTED)?;
        if time_us(text) == Some(0) {
            return Ok(None);
        }
        match self.0.read_text(text) {
            Err(Flaw::Range { value, least, most }) => {
                Err(Flaw::Range { value, least: format!("0s, or {least}"), most }.into())
            }
            read => Ok(Some(read?)),
        }
    }

    fn write(&self, value: &Option<i64>) -> Value {
        self.0.write(&value.unwrap_or(0))
    }

    fn schema(&self) -> Vec<(&'static str, Json)> {
        self.0.schema()
    }

    fn range_text(&self) -> Option<String> {
        Some(format!("0s, or {}", self.0.range()))
    }
}

impl Kind for RisingTimes {
    type Of = Vec<i64>;

    fn form(&self) -> Form {
        Form::Texts
    }

    fn read(&self, value: &DeValue<'_>) -> Result<Vec<i64>, Bad> {
        let mut times = Vec::new();
        for (text, span) in texts_of(value, "a list of times, such as [\"1s\", \"10s\"]")? {
            let at_item = |flaw| Bad { flaw, span: Some(span.clone()) };
            if times.len() == self.most_items {
                return Err(at_item(Flaw::Rule {
                    text: format!("at most {} times can be given", self.most_items),
                }));
            }
            let time_us = self.each.read_text(&text).map_err(at_item)?;
            if times.last().is_some_and(|last| *last >= time_us) {
                return Err(at_item(Flaw::Rule {
                    text: format!("times must rise, and {text:?} is not above the one before"),
                }));
            }
            times.push(time_us);
        }
        Ok(times)
    }

    fn write(&self, value: &Vec<i64>) -> Value {
        value.iter().map(|time| self.each.write(time)).collect::<Vec<_>>().into()
    }

    fn schema(&self) -> Vec<(&'static str, Json)> {
        vec![
            ("type", Json::text("array")),
            ("maxItems", Json::Number(self.most_items as u64)),
            ("items", Json::Object(self.each.schema())),
        ]
    }

    fn range_text(&self) -> Option<String> {
        Some(format!("{}, rising", self.each.range()))
    }
}

impl Kind for Size {
    type Of = u64;

    fn read(&self, value: &DeValue<'_>) -> Result<u64, Bad> {
        const EXPECTED: &str = "a size such as \"512MiB\" (a whole number and B, KiB, MiB, GiB or TiB)";
        let text = text_of(value, EXPECTED)?;
        let bytes = size_bytes(text).ok_or_else(|| wrong_value(text, EXPECTED))?;
        if (self.least..=self.most).contains(&bytes) {
            return Ok(bytes);
        }
        Err(out_of_range(text, size_text(self.least), size_text(self.most)))
    }

    fn write(&self, value: &u64) -> Value {
        Value::String(size_text(*value))
    }

    fn schema(&self) -> Vec<(&'static str, Json)> {
        vec![("type", Json::text("string")), ("pattern", Json::text(SIZE_PATTERN))]
    }

    fn range_text(&self) -> Option<String> {
        Some(format!("{} to {}", size_text(self.least), size_text(self.most)))
    }
}

impl<T: Choice> OneOf<T> {
    fn read_text(&self, text: &str) -> Result<T, Flaw> {
        self.0.iter().copied().find(|choice| choice.word() == text).ok_or_else(|| Flaw::Choice {
            value: excerpt(text),
            choices: words(self.0).collect(),
            nearest: nearest(text, words(self.0)).map(str::to_owned),
        })
    }
}

impl<T: Choice> Kind for OneOf<T> {
    type Of = T;

    fn read(&self, value: &DeValue<'_>) -> Result<T, Bad> {
        Ok(self.read_text(text_of(value, "one of a few words, in quotes")?)?)
    }

    fn write(&self, value: &T) -> Value {
        value.word().into()
    }

    fn schema(&self) -> Vec<(&'static str, Json)> {
        vec![("type", Json::text("string")), ("enum", Json::List(words(self.0).map(Json::text).collect()))]
    }
}

impl<T: Choice> Kind for SomeOf<T> {
    type Of = Vec<T>;

    fn form(&self) -> Form {
        Form::Texts
    }

    fn read(&self, value: &DeValue<'_>) -> Result<Vec<T>, Bad> {
        let mut chosen = Vec::new();
        for (text, span) in texts_of(value, "a list of words, such as [\"gre\", \"vxlan\"]")? {
            let at_item = |flaw| Bad { flaw, span: Some(span.clone()) };
            let choice = OneOf(self.0).read_text(&text).map_err(at_item)?;
            if chosen.contains(&choice) {
                return Err(at_item(Flaw::Rule { text: format!("{:?} stands there twice", choice.word()) }));
            }
            chosen.push(choice);
        }
        Ok(chosen)
    }

    fn write(&self, value: &Vec<T>) -> Value {
        value.iter().map(|choice| choice.word()).collect::<Vec<_>>().into()
    }

    fn schema(&self) -> Vec<(&'static str, Json)> {
        vec![
            ("type", Json::text("array")),
            ("uniqueItems", Json::Flag(true)),
            ("items", Json::Object(OneOf(self.0).schema())),
        ]
    }
}

impl<T> Text<T> {
    fn read_text(&self, text: &str) -> Result<T, Flaw> {
        if text.len() > self.most_bytes {
            return Err(Flaw::Rule {
                text: format!("is {} bytes long; at most {} can be", text.len(), self.most_bytes),
            });
        }
        (self.read)(text).ok_or_else(|| wrong_value(text, self.expected))
    }
}

impl<T: PartialEq> Kind for Text<T> {
    type Of = T;

    fn read(&self, value: &DeValue<'_>) -> Result<T, Bad> {
        Ok(self.read_text(text_of(value, self.expected)?)?)
    }

    fn write(&self, value: &T) -> Value {
        Value::String((self.write)(value))
    }

    fn schema(&self) -> Vec<(&'static str, Json)> {
        vec![
            ("type", Json::text("string")),
            ("minLength", Json::Number(1)),
            ("maxLength", Json::Number(self.most_bytes as u64)),
        ]
    }
}

impl<T: PartialEq> Kind for TextOrNone<T> {
    type Of = Option<T>;

    fn read(&self, value: &DeValue<'_>) -> Result<Option<T>, Bad> {
        match text_of(value, self.0.expected)? {
            "" => Ok(None),
            text => Ok(Some(self.0.read_text(text)?)),
        }
    }

    fn write(&self, value: &Option<T>) -> Value {
        Value::String(value.as_ref().map_or_else(String::new, self.0.write))
    }

    fn schema(&self) -> Vec<(&'static str, Json)> {
        vec![("type", Json::text("string")), ("maxLength", Json::Number(self.0.most_bytes as u64))]
    }
}

/// How events name the sensor.
pub(crate) const SENSOR_NAME: Text<String> = Text {
    most_bytes: 255,
    expected: "a name without control characters",
    read: |text| is_printable(text).then(|| text.to_owned()),
    write: String::clone,
};

/// What the kernel takes as an interface's name (`dev_valid_name`).
pub(crate) const INTERFACE_NAME: Text<String> = Text {
    most_bytes: 15,
    expected: "the name of one interface, such as \"eth0\"",
    read: |text| {
        let of_names =
            |letter: char| !letter.is_whitespace() && !letter.is_control() && !matches!(letter, '/' | ':');
        let is_name = !matches!(text, "" | "." | ".." | "any") && text.chars().all(of_names);
        is_name.then(|| text.to_owned())
    },
    write: String::clone,
};

/// A filter that has not been compiled.
pub(crate) const FILTER: Text<String> = Text {
    most_bytes: 16_384,
    expected: "a filter in tcpdump's language, such as \"tcp port 80\"",
    read: |text| {
        let of_filters = |letter: char| letter.is_whitespace() || !letter.is_control();
        text.chars().all(of_filters).then(|| text.to_owned())
    },
    write: String::clone,
};

/// A file or folder.
pub(crate) const PATH: Text<PathBuf> = Text {
    most_bytes: 4_095,
    expected: "a path",
    read: |text| (!text.is_empty() && is_printable(text)).then(|| text.into()),
    write: |path| path.to_string_lossy().into_owned(),
};

/// The path of a Unix socket: the kernel takes no longer one (unix(7)).
pub(crate) const SOCKET_PATH: Text<PathBuf> = Text { most_bytes: 107, ..PATH };

/// A syslog server.
pub(crate) const SYSLOG: Text<SyslogTarget> = Text {
    most_bytes: 512,
    expected: "\"unix:/dev/log\", \"udp://host:514\" or \"tcp://host:601\"",
    read: |text| SyslogTarget::parse(text).filter(|_| is_printable(text)),
    write: SyslogTarget::to_string,
};

/// The address of a webhook.
pub(crate) const WEBHOOK: Text<String> = Text {
    most_bytes: 2_048,
    expected: "an address such as \"http://host:8080/path\"",
    read: |text| {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
        let is_url =
            text.bytes().all(|byte| byte.is_ascii_graphic()) && (is_host(server) || is_host_and_port(server));
        is_url.then(|| text.to_owned())
    },
    write: String::clone,
};

/// Address and port to listen on.
pub(crate) const LISTEN: Text<SocketAddr> = Text {
    most_bytes: 64,
    expected: "an IP address and a port, such as \"127.0.0.1:9477\" or \"[::1]:9477\"",
    read: |text| text.parse().ok(),
    write: SocketAddr::to_string,
};

fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

fn words<T: Choice>(choices: &'static [T]) -> impl Iterator<Item = &'static str> {
    choices.iter().map(|choice| choice.word())
}

fn text_of<'a>(value: &'a DeValue<'_>, expected: &'static str) -> Result<&'a str, Bad> {
    value.as_str().ok_or_else(|| wrong_type(expected, value))
}

/// The texts of a list with their places, or what is wrong with the first that is none.
fn texts_of(value: &DeValue<'_>, expected: &'static str) -> Result<Vec<(String, Range<usize>)>, Bad> {
    let list = value.as_array().ok_or_else(|| wrong_type(expected, value))?;
    list.iter()
        .map(|item| match item.get_ref().as_str() {
            Some(text) => Ok((text.to_owned(), item.span())),
            None => Err(Bad { span: Some(item.span()), ..wrong_type("text in quotes", item.get_ref()) }),
        })
        .collect()
}

fn wrong_type(expected: &'static str, found: &DeValue<'_>) -> Bad {
    let found = match found {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    };
    Flaw::Type { expected, found }.into()
}

fn wrong_value(value: &str, expected: &'static str) -> Flaw {
    Flaw::Value { value: excerpt(value), expected }
}

fn out_of_range(value: impl Display, least: impl Display, most: impl Display) -> Bad {
    Flaw::Range { value: excerpt(&value.to_string()), least: least.to_string(), most: most.to_string() }
        .into()
}

/// The beginning of a value that may be long.
fn excerpt(value: &str) -> String {
    const SHOWN: usize = 80;
    let mut letters = value.chars();
    let mut shown: String = letters.by_ref().take(SHOWN).collect();
    if letters.next().is_some() {
        shown.push_str("...");
    }
    shown
}
