//! What stands in the parentheses of `#[glommio::main(…)]` and `#[glommio::test(…)]`.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::{
    Error, Expr, Path, Result, Token,
    ext::IdentExt,
    parse::{ParseStream, Parser},
};

/// The options that are methods of `LocalExecutorBuilder`.
const METHODS: [&str; 10] = [
    "blocking_thread_pool_placement",
    "detect_stalls",
    "io_memory",
    "name",
    "on_unobserved_panic",
    "preempt_timer",
    "record_io_latencies",
    "ring_depth",
    "spin_before_park",
    "stop_handle",
];

/// How the executor of a function is built.
#[derive(Default)]
pub(crate) struct Options {
    krate: Option<Path>,
    placement: Option<Placement>,
    /// Method and argument, as written.
    calls: Vec<(Ident, Expr)>,
}

struct Placement {
    option: Ident,
    tokens: Expr,
}

impl Options {
    pub(crate) fn parse(tokens: TokenStream) -> Result<Options> {
        let parser = |input: ParseStream<'_>| {
            let mut options = Options::default();
            while !input.is_empty() {
                options.parse_one(input)?;
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
            }
            Ok(options)
        };
        parser.parse2(tokens)
    }

    fn parse_one(&mut self, input: ParseStream<'_>) -> Result<()> {
        if !input.peek(Ident::peek_any) {
            return Err(input.error(format!("expected an option: {}", known())));
        }
        let option = input.call(Ident::parse_any)?;
        let name = option.to_string();
        let is_method = METHODS.contains(&name.as_str());
        if !is_method && !["cpu", "crate", "placement"].contains(&name.as_str()) {
            let text = format!("unknown option `{name}`; there are {}", known());
            return Err(Error::new(option.span(), text));
        }
        if !input.peek(Token![=]) {
            return Err(without_value(&option));
        }
        input.parse::<Token![=]>()?;
        if input.is_empty() || input.peek(Token![,]) {
            return Err(without_value(&option));
        }
        match name.as_str() {
            "crate" => {
                let path = input.call(Path::parse_mod_style)?;
                once(&option, self.krate.replace(path).is_some())
            }
            "cpu" | "placement" => {
                let tokens = input.parse()?;
                self.place(Placement { option, tokens })
            }
            _ => {
                let argument = input.parse()?;
                once(
                    &option,
                    self.calls.iter().any(|(method, _)| *method == option),
                )?;
                self.calls.push((option, argument));
                Ok(())
            }
        }
    }

    fn place(&mut self, placement: Placement) -> Result<()> {
        if let Some(before) = &self.placement {
            once(&placement.option, before.option == placement.option)?;
            let text = "`cpu` and `placement` both say where the executor runs; keep one of them";
            return Err(Error::new(placement.option.span(), text));
        }
        self.placement = Some(placement);
        Ok(())
    }

    /// The path of the crate glommio.
    pub(crate) fn krate(&self) -> TokenStream {
        match &self.krate {
            Some(path) => path.to_token_stream(),
            None => quote!(::glommio),
        }
    }

    /// An expression for the builder of the executor, which is called `name` unless the options say
    /// otherwise.
    pub(crate) fn builder(&self, name: &str) -> TokenStream {
        let krate = self.krate();
        let placement = match &self.placement {
            None => quote!(#krate::Placement::Unbound),
            Some(Placement { option, tokens }) if option == "cpu" => {
                quote!(#krate::Placement::Fixed(#tokens))
            }
            Some(Placement { tokens, .. }) => tokens.to_token_stream(),
        };
        let calls = self
            .calls
            .iter()
            .map(|(method, argument)| quote!(.#method(#argument)));
        quote!(#krate::LocalExecutorBuilder::new(#placement).name(#name) #(#calls)*)
    }
}

fn once(option: &Ident, again: bool) -> Result<()> {
    if again {
        return Err(Error::new(
            option.span(),
            format!("`{option}` is given twice"),
        ));
    }
    Ok(())
}

fn without_value(option: &Ident) -> Error {
    let example = match option.to_string().as_str() {
        "cpu" => "cpu = 0",
        "crate" => "crate = some::path",
        "name" => "name = \"worker\"",
        "placement" => "placement = Placement::Unbound",
        _ => "option = value",
    };
    let text = format!("`{option}` needs a value, as in `{example}`");
    Error::new(option.span(), text)
}

/// All options, for messages.
fn known() -> String {
    let names = ["placement", "cpu", "crate"].into_iter().chain(METHODS);
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(options: &str) -> String {
        let options = Options::parse(options.parse().unwrap()).unwrap();
        options.builder("main").to_string().replace(' ', "")
    }

    fn refusal(options: &str) -> String {
        match Options::parse(options.parse().unwrap()) {
            Ok(_) => panic!("accepted: {options}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn without_options_the_executor_is_unbound_and_named_after_the_function() {
        assert_eq!(
            builder(""),
            "::glommio::LocalExecutorBuilder::new(::glommio::Placement::Unbound).name(\"main\")"
        );
    }

    #[test]
    fn options_become_calls_of_the_builder_in_their_order() {
        assert_eq!(
            builder("crate = my::glommio, ring_depth = 7 + 1, cpu = 3, name = \"w\","),
            "my::glommio::LocalExecutorBuilder::new(my::glommio::Placement::Fixed(3))\
             .name(\"main\").ring_depth(7+1).name(\"w\")"
        );
        assert!(builder("placement = place(1, 2)").contains("::new(place(1,2))"));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(
            refusal("name = \"a\", name = \"b\""),
            "`name` is given twice"
        );
        assert_eq!(refusal("crate = a, crate = b"), "`crate` is given twice");
        assert_eq!(refusal("cpu = 0, cpu = 1"), "`cpu` is given twice");
        assert!(refusal("cpu = 0, placement = p()").contains("keep one"));
        assert!(refusal("threads = 2").starts_with("unknown option `threads`; there are `placem"));
        assert_eq!(refusal("cpu"), "`cpu` needs a value, as in `cpu = 0`");
        assert!(refusal("io_memory =").starts_with("`io_memory` needs a value"));
        assert!(refusal("name =, cpu = 0").starts_with("`name` needs a value"));
        assert!(refusal("\"a\"").starts_with("expected an option: `placement`"));
    }
}
