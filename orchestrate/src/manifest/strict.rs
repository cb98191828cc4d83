//! Reads a typed object from a [`Tree`], and notes the fields that the type does not have.
//!
//! Every type of `k8s_openapi` tells its deserializer the names of its fields, so the types themselves are the schema: no
//! second one has to be kept. A field that a type would skip in silence is noted with its path, place, and the names it could
//! have been meant for.

use super::tree::{Place, Tree, Value};
use crate::field::Path;
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use std::cell::RefCell;
use std::fmt;

/// A field that its type does not have.
#[derive(Clone, Debug)]
pub(super) struct Unknown {
    pub path: Path,
    pub place: Place,
    pub known: &'static [&'static str],
}

/// What is wrong with a value, and where.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    pub path: Path,
    pub place: Place,
    pub message: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Wrong {
        Wrong {
            path: Path::default(),
            place: Place::default(),
            message: message.to_string(),
        }
    }
}

impl Wrong {
    /// Says where it happened, unless a place further inside has been named already.
    fn at(mut self, path: &Path, place: Place) -> Wrong {
        if self.place == Place::default() {
            self.path = path.clone();
            self.place = place;
        }
        self
    }
}

/// A value on its way into a type.
#[derive(Clone)]
pub(super) struct Strict<'t> {
    tree: &'t Tree,
    path: Path,
    unknown: &'t RefCell<Vec<Unknown>>,
    /// Whether a number may stand where a text is asked for, as in a quantity.
    lenient_text: bool,
}

impl<'t> Strict<'t> {
    pub(super) fn new(tree: &'t Tree, path: Path, unknown: &'t RefCell<Vec<Unknown>>) -> Self {
        Strict {
            tree,
            path,
            unknown,
            lenient_text: false,
        }
    }

    fn inside(&self, tree: &'t Tree, path: Path) -> Strict<'t> {
        Strict::new(tree, path, self.unknown)
    }

    fn wrong(&self, expected: &str) -> Wrong {
        let found = self.tree.describe();
        let quote = match (expected, &self.tree.value) {
            ("a text", Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Float(_)) => {
                ": put it in quotes"
            }
            _ => "",
        };
        Wrong {
            path: self.path.clone(),
            place: self.tree.place,
            message: format!("expected {expected}, found {found}{quote}"),
        }
    }

    fn list<V: Visitor<'t>>(&self, items: &'t [Tree], visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_seq(Items {
            of: self,
            rest: items.iter().enumerate(),
        })
    }

    fn map<V: Visitor<'t>>(
        &self,
        entries: &'t [(Tree, Tree)],
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_map(Entries {
            of: self,
            fields,
            rest: entries.iter(),
            value: None,
        })
    }
}

macro_rules! number {
    ($($name:ident)*) => {$(
        fn $name<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Wrong> {
            let result = match self.tree.value {
                Value::Int(value) => visitor.visit_i64(value),
                Value::Uint(value) => visitor.visit_u64(value),
                Value::Float(value) => visitor.visit_f64(value),
                _ => Err(self.wrong("a number")),
            };
            result.map_err(|wrong| wrong.at(&self.path, self.tree.place))
        }
    )*};
}

impl<'t> Deserializer<'t> for Strict<'t> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let result = match &self.tree.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i64(*value),
            Value::Uint(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(value) => visitor.visit_borrowed_str(value),
            Value::List(items) => self.list(items, visitor),
            Value::Map(entries) => self.map(entries, None, visitor),
        };
        result.map_err(|wrong| wrong.at(&self.path, self.tree.place))
    }

    fn deserialize_bool<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.tree.value {
            Value::Bool(value) => visitor.visit_bool(value),
            _ => Err(self.wrong("true or false")),
        }
    }

    number! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_f32 deserialize_f64
    }

    fn deserialize_str<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let result = match &self.tree.value {
            Value::Text(value) => visitor.visit_borrowed_str(value),
            Value::Int(value) if self.lenient_text => visitor.visit_string(value.to_string()),
            Value::Uint(value) if self.lenient_text => visitor.visit_string(value.to_string()),
            Value::Float(value) if self.lenient_text => visitor.visit_string(value.to_string()),
            _ => Err(self.wrong("a text")),
        };
        result.map_err(|wrong| wrong.at(&self.path, self.tree.place))
    }

    fn deserialize_string<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.tree.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.tree.value {
            Value::Null => visitor.visit_unit(),
            _ => Err(self.wrong("nothing")),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'t>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'t>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let (path, place) = (self.path.clone(), self.tree.place);
        // The API server takes `cpu: 1` as well as `cpu: "1"`.
        self.lenient_text = name == "Quantity";
        let result = visitor.visit_newtype_struct(self);
        result.map_err(|wrong| wrong.at(&path, place))
    }

    fn deserialize_seq<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.tree.value {
            Value::List(items) => self.list(items, visitor),
            _ => Err(self.wrong("a list")),
        }
    }

    fn deserialize_tuple<V: Visitor<'t>>(self, _len: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'t>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.tree.value {
            Value::Map(entries) => self.map(entries, None, visitor),
            _ => Err(self.wrong("a map")),
        }
    }

    fn deserialize_struct<V: Visitor<'t>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match &self.tree.value {
            Value::Map(entries) => self.map(entries, Some(fields), visitor),
            _ => Err(self.wrong("a map")),
        }
    }

    fn deserialize_enum<V: Visitor<'t>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let (path, place) = (self.path.clone(), self.tree.place);
        let result = visitor.visit_enum(Variant(self));
        result.map_err(|wrong| wrong.at(&path, place))
    }

    fn deserialize_ignored_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }
}

struct Items<'a, 't> {
    of: &'a Strict<'t>,
    rest: std::iter::Enumerate<std::slice::Iter<'t, Tree>>,
}

impl<'t> SeqAccess<'t> for Items<'_, 't> {
    type Error = Wrong;

    fn next_element_seed<S: DeserializeSeed<'t>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Wrong> {
        let Some((index, tree)) = self.rest.next() else {
            return Ok(None);
        };
        let path = self.of.path.index(index);
        seed.deserialize(self.of.inside(tree, path)).map(Some)
    }
}

struct Entries<'a, 't> {
    of: &'a Strict<'t>,
    fields: Option<&'static [&'static str]>,
    rest: std::slice::Iter<'t, (Tree, Tree)>,
    value: Option<(Path, &'t Tree)>,
}

impl<'t> MapAccess<'t> for Entries<'_, 't> {
    type Error = Wrong;

    fn next_key_seed<S: DeserializeSeed<'t>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Wrong> {
        let Some((key, value)) = self.rest.next() else {
            return Ok(None);
        };
        let Some(name) = key.text() else {
            return Err(self.of.inside(key, self.of.path.clone()).wrong("a text"));
        };
        let path = match self.fields {
            Some(_) => self.of.path.child(name),
            None => self.of.path.key(name),
        };
        if let Some(known) = self.fields.filter(|fields| !fields.contains(&name)) {
            self.of.unknown.borrow_mut().push(Unknown {
                path: path.clone(),
                place: key.place,
                known,
            });
        }
        self.value = Some((path, value));
        let name: StrDeserializer<'_, Wrong> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<S::Value, Wrong> {
        let Some((path, tree)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(self.of.inside(tree, path))
    }
}

struct Variant<'t>(Strict<'t>);

impl<'t> EnumAccess<'t> for Variant<'t> {
    type Error = Wrong;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'t>>(self, seed: S) -> Result<(S::Value, Self), Wrong> {
        let value = seed.deserialize(self.0.clone())?;
        Ok((value, self))
    }
}

impl<'t> VariantAccess<'t> for Variant<'t> {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'t>>(self, _seed: S) -> Result<S::Value, Wrong> {
        Err(self.0.wrong("a plain name"))
    }

    fn tuple_variant<V: Visitor<'t>>(self, _len: usize, _visitor: V) -> Result<V::Value, Wrong> {
        Err(self.0.wrong("a plain name"))
    }

    fn struct_variant<V: Visitor<'t>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Wrong> {
        Err(self.0.wrong("a plain name"))
    }
}
