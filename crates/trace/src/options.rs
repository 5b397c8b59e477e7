//! Options written as `name:key=value,key=value`.

/// A name and its values, each of which must be asked for.
pub(crate) struct Spec<'a> {
    pub(crate) name: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Spec<'a> {
    /// Takes `name`, `name:value` (a value without a key) or `name:key=value,…` apart.
    pub(crate) fn parse(text: &'a str) -> Spec<'a> {
        let (name, values) = text.split_once(':').unwrap_or((text, ""));
        Spec { name: name.trim(), pairs: Spec::pairs(values) }
    }

    /// Takes `key=value,…` apart, without a name before it.
    pub(crate) fn values(text: &'a str) -> Spec<'a> {
        Spec { name: "", pairs: Spec::pairs(text) }
    }

    fn pairs(values: &'a str) -> Vec<(&'a str, &'a str)> {
        let parts = values.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts
            .map(|part| part.split_once('=').unwrap_or(("", part)))
            .map(|(k, v)| (k.trim(), v.trim()))
            .collect()
    }

    /// A value, which is then used up; `None` if it is not there.
    pub(crate) fn take(&mut self, key: &str) -> Option<&'a str> {
        let at = self.pairs.iter().position(|(k, _)| *k == key)?;
        Some(self.pairs.remove(at).1)
    }

    /// A number, `None` if it is not there; the text where it is not a number.
    pub(crate) fn number(&mut self, key: &str) -> Result<Option<f64>, &'a str> {
        let Some(text) = self.take(key) else { return Ok(None) };
        text.parse().ok().filter(|n: &f64| n.is_finite()).map(Some).ok_or(text)
    }

    /// A key that nobody asked for.
    pub(crate) fn left(&self) -> Option<&'a str> {
        self.pairs.first().map(|(key, value)| if key.is_empty() { *value } else { *key })
    }
}
