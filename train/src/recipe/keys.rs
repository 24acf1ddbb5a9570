//! Which keys a recipe has, and the nearest one to a misspelt key.

use toml::{Table, Value};

use super::{Recipe, RecipeError};

/// Refuses the first key that no section reads.
pub(super) fn refuse_unknown(table: &Table, origin: &str) -> Result<(), RecipeError> {
    let known = known_keys();
    for key in dotted_keys(table) {
        if !known.contains(&key) {
            let nearest = known.iter().max_by(|a, b| similarity(a, &key).total_cmp(&similarity(b, &key)));
            let nearest = nearest.cloned().unwrap_or_default();
            return Err(RecipeError::UnknownKey { origin: origin.to_owned(), key, nearest });
        }
    }
    Ok(())
}

/// Applies `section.key=value`.
pub(super) fn assign(table: &mut Table, assignment: &str) -> Result<(), RecipeError> {
    let origin = format!("--set {assignment}");
    let fault = |message: &str| RecipeError::Parse { origin: origin.clone(), message: message.to_owned() };
    let (key, text) = assignment.split_once('=').ok_or_else(|| fault("expected section.key=value"))?;
    let parsed: Result<Table, _> = format!("value = {text}").parse();
    let value =
        parsed.ok().and_then(|mut t| t.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()));
    let mut path: Vec<&str> = key.trim().split('.').collect();
    let Some(last) = path.pop() else { return Err(fault("expected a key")) };
    let mut section = Table::new();
    section.insert(last.to_owned(), value.clone());
    for name in path.iter().rev() {
        section = Table::from_iter([((*name).to_owned(), Value::Table(section))]);
    }
    refuse_unknown(&section, &origin)?;
    let mut target = table;
    for name in path {
        let entry = target.entry(name).or_insert_with(|| Value::Table(Table::new()));
        target = entry.as_table_mut().ok_or_else(|| fault("expected a section before the dot"))?;
    }
    target.insert(last.to_owned(), value);
    Ok(())
}

/// Whether a name can be a folder's: no separators, nothing a shell would read.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        && !name.starts_with('.')
}

/// Every key of the recipe, sections and dotted. The template sets the optional ones, which defaults leave out.
pub(super) fn known_keys() -> Vec<String> {
    let mut template = Recipe::default();
    template.model.weights = Some("weights".into());
    Table::try_from(&template).map(|table| dotted_keys(&table)).unwrap_or_default()
}

fn dotted_keys(table: &Table) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, value) in table {
        keys.push(key.clone());
        if let Value::Table(inner) = value {
            keys.extend(dotted_keys(inner).into_iter().map(|inner| format!("{key}.{inner}")));
        }
    }
    keys
}

fn similarity(a: &str, b: &str) -> f64 {
    strsim::jaro_winkler(a, b)
}
