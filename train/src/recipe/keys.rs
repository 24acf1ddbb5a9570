//! Which keys a recipe has, and the nearest one to a misspelt key.

use toml::{Table, Value};

use super::{LayerBits, Recipe, RecipeError};

/// The table whose keys are names of layers, which only an architecture knows.
const LAYERS: &str = "bits.layers";

/// A key as it was written, and as the recipe's definition calls it.
struct Key {
    written: String,
    known_as: String,
}

/// Refuses the first key that no section reads.
pub(super) fn refuse_unknown(table: &Table, origin: &str) -> Result<(), RecipeError> {
    let known = known_keys();
    for key in dotted_keys(table, "") {
        if !known.contains(&key.known_as) {
            let nearest = nearest(&known, &key.known_as);
            return Err(RecipeError::UnknownKey { origin: origin.to_owned(), key: key.written, nearest });
        }
    }
    Ok(())
}

/// Applies `section.key=value`, the value in TOML or a bare string.
pub(super) fn assign(table: &mut Table, assignment: &str) -> Result<(), RecipeError> {
    let origin = format!("--set {assignment}");
    let fault = |message: &str| RecipeError::Parse { origin: origin.clone(), message: message.to_owned() };
    let (key, text) = assignment.split_once('=').ok_or_else(|| fault("expected section.key=value"))?;
    let bare = format!("{key} = {}", Value::String(text.to_owned()));
    let section: Result<Table, _> = format!("{key} = {text}").parse();
    let section = section.or_else(|_| bare.parse()).map_err(|_| fault("expected section.key=value"))?;
    refuse_unknown(&section, &origin)?;
    merge(table, section);
    Ok(())
}

/// Puts every value of `from` into `into`.
pub(super) fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

/// Whether a name can be a folder's: no separators, nothing a shell would read.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        && !name.starts_with('.')
}

/// The most similar name.
pub(super) fn nearest<'a>(names: impl IntoIterator<Item = &'a String>, to: &str) -> String {
    let similarity = |name: &str| strsim::jaro_winkler(name, to);
    let nearest = names.into_iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    nearest.cloned().unwrap_or_default()
}

/// Every key of the recipe, sections and dotted. The template sets the optional ones, which defaults leave out.
pub(super) fn known_keys() -> Vec<String> {
    let mut template = Recipe::default();
    template.model.weights = Some("weights".into());
    template.bits.plan = Some("plan".into());
    let [weight, activation] = [Some(template.bits.weight), Some(template.bits.activation)];
    let (mid_rise, ring) = (Some(template.bits.mid_rise), Some(template.bits.ring));
    let algorithm = Some(template.bits.algorithm);
    let layer = LayerBits { weight, activation, mid_rise, ring, algorithm };
    template.bits.layers.insert("any".to_owned(), layer);
    let keys = Table::try_from(&template).map(|table| dotted_keys(&table, ""));
    keys.unwrap_or_default().into_iter().map(|key| key.known_as).collect()
}

fn dotted_keys(table: &Table, section: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    for (name, value) in table {
        let (written, known_as) =
            if section == LAYERS { (format!("{name:?}"), "<layer>") } else { (name.clone(), name.as_str()) };
        let inner_section =
            if section.is_empty() { known_as.to_owned() } else { format!("{section}.{known_as}") };
        let inner = match value {
            Value::Table(inner) => dotted_keys(inner, &inner_section),
            _ => Vec::new(),
        };
        let inside = |key: Key| Key {
            written: format!("{written}.{}", key.written),
            known_as: format!("{known_as}.{}", key.known_as),
        };
        let inner: Vec<Key> = inner.into_iter().map(inside).collect();
        keys.push(Key { written, known_as: known_as.to_owned() });
        keys.extend(inner);
    }
    keys
}
