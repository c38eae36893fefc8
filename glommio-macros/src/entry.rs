//! `#[glommio::main]` and `#[glommio::test]`: an `async fn` becomes a function that runs it on an
//! executor of its own.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Attribute, Error, Result, Signature, Token, Visibility,
    parse::{ParseStream, Parser},
};

use crate::options::Options;

#[derive(Clone, Copy)]
pub(crate) enum Entry {
    Main,
    Test,
}

/// A function whose body is not looked at.
struct Function {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    signature: Signature,
    body: Group,
}

impl Entry {
    fn attribute(self) -> &'static str {
        match self {
            Entry::Main => "#[glommio::main]",
            Entry::Test => "#[glommio::test]",
        }
    }

    pub(crate) fn expand(self, options: TokenStream, item: TokenStream) -> TokenStream {
        self.try_expand(options, item.clone())
            .unwrap_or_else(|error| {
                let error = error.into_compile_error();
                let item = without_main(item);
                quote!(#error #item)
            })
    }

    fn try_expand(self, options: TokenStream, item: TokenStream) -> Result<TokenStream> {
        let parser = |input: ParseStream<'_>| self.parse(input);
        let Function {
            attributes,
            visibility,
            signature,
            body,
        } = parser.parse2(item)?;
        self.check(&attributes, &signature)?;
        let options = Options::parse(options)?;

        let krate = options.krate();
        let name = &signature.ident;
        let text = name.to_string();
        let text = text.trim_start_matches("r#");
        let builder = options.builder(text);
        let test = match self {
            Entry::Main => None,
            Entry::Test => Some(quote!(#[::core::prelude::v1::test])),
        };
        let mut outside = signature.clone();
        outside.asyncness = None;
        Ok(quote! {
            #(#attributes)*
            #test
            #visibility #outside {
                #signature #body

                #krate::macro_support::run(#builder, #text, #name())
            }
        })
    }

    fn parse(self, input: ParseStream<'_>) -> Result<Function> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let is_function = input.peek(Token![fn])
            || input.peek(Token![async])
            || input.peek(Token![unsafe])
            || input.peek(Token![extern])
            || (input.peek(Token![const]) && input.peek2(Token![fn]));
        if !is_function {
            return Err(input.error(format!("{} goes on an `async fn`", self.attribute())));
        }
        let signature = input.parse()?;
        let body = input.parse()?;
        match body {
            // A macro's `$body:block` stands in a group without delimiters.
            TokenTree::Group(body)
                if matches!(body.delimiter(), Delimiter::Brace | Delimiter::None) =>
            {
                Ok(Function {
                    attributes,
                    visibility,
                    signature,
                    body,
                })
            }
            other => {
                let text = format!("{} needs a function with a body", self.attribute());
                Err(Error::new(other.span(), text))
            }
        }
    }

    fn check(self, attributes: &[Attribute], signature: &Signature) -> Result<()> {
        let (attribute, name) = (self.attribute(), &signature.ident);
        let refuse = |tokens: &dyn ToTokens, text: String| {
            Err(Error::new_spanned(tokens.to_token_stream(), text))
        };
        if let Entry::Test = self {
            let is_test = |attribute: &&Attribute| {
                let last = attribute.path().segments.last();
                last.is_some_and(|segment| segment.ident == "test")
            };
            if let Some(other) = attributes.iter().find(is_test) {
                let text = format!("remove this: {attribute} makes a test of the function already");
                return refuse(other, text);
            }
        }
        if let Some(keyword) = &signature.unsafety {
            let text = format!("{attribute} calls the function, so it cannot be `unsafe`");
            return refuse(keyword, text);
        }
        if let Some(keyword) = &signature.abi {
            return refuse(
                keyword,
                format!("{attribute} needs a function without `extern`"),
            );
        }
        if signature.asyncness.is_none() {
            let text = format!("{attribute} needs an `async fn`: write `async fn {name}`");
            return refuse(&signature.fn_token, text);
        }
        if !signature.inputs.is_empty() || signature.variadic.is_some() {
            let text = format!("{attribute} has nothing to pass: `{name}` cannot have arguments");
            return refuse(&signature.inputs, text);
        }
        if !signature.generics.params.is_empty() || signature.generics.where_clause.is_some() {
            let text = format!("{attribute} has to call `{name}`, so it cannot be generic");
            let generics = &signature.generics;
            return match &generics.where_clause {
                Some(clause) if generics.params.is_empty() => refuse(clause, text),
                _ => refuse(generics, text),
            };
        }
        Ok(())
    }
}

/// The item, or an empty `main` in its place if it is that: one error is enough.
fn without_main(item: TokenStream) -> TokenStream {
    let is_main = |word: &TokenTree| matches!(word, TokenTree::Ident(word) if word == "main");
    let mut words = item.clone().into_iter();
    let has_main = words
        .find(|word| matches!(word, TokenTree::Ident(word) if word == "fn"))
        .and_then(|_| words.next())
        .is_some_and(|name| is_main(&name));
    if !has_main {
        return item;
    }
    let main = Ident::new("main", Span::call_site());
    quote!(fn #main() {})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(entry: Entry, item: &str) -> String {
        let expanded = entry.expand(TokenStream::new(), item.parse().unwrap());
        expanded.to_string().replace(' ', "")
    }

    #[test]
    fn attributes_and_visibility_stay_and_the_function_is_sync() {
        let expanded = expand(
            Entry::Test,
            "#[ignore] #[should_panic(expected = \"x\")] pub(crate) async fn f() -> u8 { 5 }",
        );
        let start = "#[ignore]#[should_panic(expected=\"x\")]#[::core::prelude::v1::test]\
                     pub(crate)fnf()->u8{asyncfnf()->u8{5}::glommio::macro_support::run(";
        assert!(expanded.starts_with(start), "{expanded}");
        assert!(expanded.ends_with(",\"f\",f())}"), "{expanded}");
    }

    #[test]
    fn a_body_may_come_out_of_a_macro() {
        let body = Group::new(Delimiter::None, quote!({ 5 }));
        let expanded = Entry::Main.expand(TokenStream::new(), quote!(async fn f() -> u8 #body));
        let expanded = expanded.to_string().replace(' ', "");
        assert!(
            expanded.contains("{asyncfnf()->u8{5}::glommio"),
            "{expanded}"
        );
    }

    #[test]
    fn a_main_that_is_refused_leaves_one_behind() {
        let expanded = expand(Entry::Main, "fn main() { main_loop(); }");
        assert!(expanded.contains("compile_error"), "{expanded}");
        assert!(expanded.ends_with("fnmain(){}"), "{expanded}");
        let expanded = expand(Entry::Main, "fn run() { main(); }");
        assert!(expanded.ends_with("fnrun(){main();}"), "{expanded}");
    }
}
