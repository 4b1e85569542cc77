//! nginx's `log_format`: variables with text between them.

/// A format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// What stands before the first variable.
    before: String,
    /// Each variable's name, and the text up to the next one.
    variables: Vec<(String, String)>,
}

impl Template {
    /// Reads a format.
    ///
    /// # Errors
    /// Says why lines cannot be read by it.
    pub fn new(format: &str) -> Result<Self, String> {
        let mut template = Self { before: String::new(), variables: Vec::new() };
        let mut rest = format;
        while let Some(at) = rest.find('$') {
            template.literal(&rest[..at]);
            let after = &rest[at + 1..];
            let (name, after) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
                Some((name, after)) => (name, after),
                None => {
                    after.split_at(after.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(after.len()))
                }
            };
            if name.is_empty() {
                return Err("a `$` has no name".to_owned());
            }
            if let Some((before, between)) = template.variables.last()
                && between.is_empty()
            {
                return Err(format!("nothing stands between `${before}` and `${name}`: where one ends cannot be told"));
            }
            template.variables.push((name.to_owned(), String::new()));
            rest = after;
        }
        template.literal(rest);
        if template.variables.is_empty() {
            return Err("it has no variable such as `$status`".to_owned());
        }
        Ok(template)
    }

    fn literal(&mut self, text: &str) {
        match self.variables.last_mut() {
            Some((_, after)) => after.push_str(text),
            None => self.before.push_str(text),
        }
    }

    /// Returns how many variables there are.
    #[must_use]
    pub fn variables(&self) -> usize {
        self.variables.len()
    }

    /// Returns each variable with its value in `line`; `None` if the line does not fit.
    #[must_use]
    pub fn read<'a>(&'a self, line: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let mut rest = line.strip_prefix(self.before.as_str())?;
        let mut values = Vec::with_capacity(self.variables.len());
        for (index, (name, after)) in self.variables.iter().enumerate() {
            let is_last = index + 1 == self.variables.len();
            let value = if is_last { rest.strip_suffix(after.as_str())? } else { &rest[..rest.find(after.as_str())?] };
            values.push((name.as_str(), value));
            rest = &rest[(value.len() + after.len()).min(rest.len())..];
        }
        Some(values)
    }
}
