//! `glommio::select!`.
//!
//! ```text
//! {
//!     enum Selected<B0, B1> { B0(B0), B1(B1) }
//!     match {
//!         // What the branches wait for lives in here, and is gone before a handler runs.
//!         evaluate the guards, then the futures of those that hold, and pin them;
//!         support::select(order, poll one branch by number).await
//!     } {
//!         Some(Selected::B0(<pattern>)) => <handler>,
//!         Some(Selected::B1(<pattern>)) => <handler>,
//!         None => <else>,
//!     }
//! }
//! ```
//!
//! Whether an output fits its pattern has to be known inside of the poll, without taking the output
//! apart. A match arm whose guard takes note and then says no does that: bindings by value move
//! only once the guard has agreed, so every pattern of the language works, in every edition.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Error, Expr, Pat, Result, Token,
    parse::{Parse, ParseStream},
    spanned::Spanned,
};

const MAX_BRANCHES: usize = 64;

pub(crate) fn expand(input: TokenStream) -> TokenStream {
    match syn::parse2::<Select>(input) {
        Ok(select) => select.expand(),
        Err(error) => error.into_compile_error(),
    }
}

struct Select {
    /// The `$crate` of glommio.
    krate: TokenTree,
    biased: bool,
    branches: Vec<Branch>,
    otherwise: Option<Expr>,
}

struct Branch {
    pattern: Pat,
    future: Expr,
    guard: Option<Expr>,
    handler: Expr,
}

mod keyword {
    syn::custom_keyword!(biased);
}

impl Parse for Select {
    fn parse(input: ParseStream<'_>) -> Result<Select> {
        let krate = input.parse()?;
        let biased = input.peek(keyword::biased) && input.peek2(Token![;]);
        if biased {
            input.parse::<keyword::biased>()?;
            input.parse::<Token![;]>()?;
        }
        let (mut branches, mut otherwise) = (Vec::new(), None);
        while !input.is_empty() {
            if otherwise.is_some() {
                return Err(input.error("`else` comes last, and only once"));
            }
            let handler = if input.peek(Token![else]) {
                input.parse::<Token![else]>()?;
                otherwise.insert(handler(input, "`else`")?)
            } else {
                let branch = input.parse::<Branch>()?;
                if branches.len() == MAX_BRANCHES {
                    let text = format!("select! has room for {MAX_BRANCHES} branches");
                    return Err(Error::new(branch.pattern.span(), text));
                }
                branches.push(branch);
                match branches.last() {
                    Some(branch) => &branch.handler,
                    None => unreachable!("just pushed"),
                }
            };
            if input.peek(Token![,]) {
                input.parse::<Token![,]>()?;
            } else if !input.is_empty() && !is_block_like(handler) {
                return Err(input.error("expected `,` after the handler of the branch before"));
            }
        }
        if branches.is_empty() {
            let text = "select! needs a branch: `pattern = future => handler`";
            return Err(Error::new(Span::call_site(), text));
        }
        Ok(Select {
            krate,
            biased,
            branches,
            otherwise,
        })
    }
}

impl Parse for Branch {
    fn parse(input: ParseStream<'_>) -> Result<Branch> {
        let pattern = Pat::parse_multi_with_leading_vert(input)?;
        if !input.peek(Token![=]) || input.peek(Token![=>]) {
            return Err(
                input.error("expected `=` and a future: a branch is `pattern = future => handler`")
            );
        }
        input.parse::<Token![=]>()?;
        let future = input.parse()?;
        let guard = if input.peek(Token![,]) && input.peek2(Token![if]) {
            input.parse::<Token![,]>()?;
            input.parse::<Token![if]>()?;
            Some(input.parse()?)
        } else {
            None
        };
        let handler = handler(input, "the future")?;
        Ok(Branch {
            pattern,
            future,
            guard,
            handler,
        })
    }
}

/// `=> expression`, where a block ends the expression as it does in a match arm.
fn handler(input: ParseStream<'_>, after: &str) -> Result<Expr> {
    if !input.peek(Token![=>]) {
        let text = if after == "`else`" {
            "expected `=>` and a handler after `else`"
        } else {
            "expected `=>` and a handler, or `, if condition` before them"
        };
        return Err(input.error(text));
    }
    input.parse::<Token![=>]>()?;
    if input.is_empty() {
        return Err(input.error("expected a handler after `=>`"));
    }
    Expr::parse_with_earlier_boundary_rule(input)
}

/// Whether the expression needs no comma behind it in a match arm.
fn is_block_like(expression: &Expr) -> bool {
    matches!(
        expression,
        Expr::Block(_)
            | Expr::Const(_)
            | Expr::ForLoop(_)
            | Expr::If(_)
            | Expr::Loop(_)
            | Expr::Match(_)
            | Expr::Unsafe(_)
            | Expr::While(_)
    )
}

/// The hygienic and other names of one branch.
struct Names {
    variant: Ident,
    guard: Ident,
    future: Ident,
}

impl Select {
    fn expand(&self) -> TokenStream {
        let support = {
            let krate = &self.krate;
            quote!(#krate::macro_support)
        };
        let names: Vec<Names> = (0..self.branches.len()).map(Names::of_branch).collect();
        let selected = Ident::new("__GlommioSelected", Span::mixed_site());
        let variants: Vec<&Ident> = names.iter().map(|names| &names.variant).collect();

        // All guards come before all futures: a future may borrow what a later guard looks at.
        let guards = self
            .branches
            .iter()
            .zip(&names)
            .filter_map(|(branch, names)| {
                let guard = &names.guard;
                let condition = branch.guard.as_ref()?;
                Some(quote_spanned!(Span::mixed_site()=> let #guard: bool = #condition;))
            });
        let futures: Vec<&Ident> = names.iter().map(|names| &names.future).collect();
        let made = self
            .branches
            .iter()
            .zip(&names)
            .map(|(branch, names)| branch.make(names, &support));
        let polls = self
            .branches
            .iter()
            .zip(&names)
            .enumerate()
            .map(|(number, (branch, names))| branch.poll(number, names, &selected, &support));
        let arms = self
            .branches
            .iter()
            .map(|branch| (&branch.pattern, &branch.handler));
        let (patterns, handlers): (Vec<_>, Vec<_>) = arms.unzip();
        let otherwise = match &self.otherwise {
            Some(handler) => quote!(#handler),
            None => quote_spanned!(Span::mixed_site()=> #support::no_branch_left()),
        };
        let order = if self.biased {
            quote!(Biased)
        } else {
            quote!(Fair)
        };
        let count = self.branches.len();

        quote_spanned! {Span::mixed_site()=>
            {
                enum #selected<#(#variants),*> {
                    #(#variants(#variants)),*
                }
                match {
                    #(#guards)*
                    // Temporaries of the futures' expressions live as long as this statement.
                    let outcome = match (#(#made,)*) {
                        (#(#futures,)*) => {
                            #(let mut #futures = ::core::pin::pin!(#futures);)*
                            #support::select(
                                #support::Order::#order,
                                #count,
                                |branch, context| match branch {
                                    #(#polls)*
                                    _ => #support::Step::Disabled,
                                },
                            )
                            .await
                        }
                    };
                    outcome
                } {
                    #(
                        ::core::option::Option::Some(#selected::#variants(#patterns)) => #handlers,
                    )*
                    ::core::option::Option::None => #otherwise,
                    // Only outputs that fit are selected.
                    #[allow(unreachable_patterns)]
                    _ => #support::no_fit(),
                }
            }
        }
    }
}

impl Names {
    fn of_branch(number: usize) -> Names {
        let name = |prefix| format_ident!("{}{}", prefix, number, span = Span::mixed_site());
        Names {
            variant: name("B"),
            guard: name("guard"),
            future: name("future"),
        }
    }
}

impl Branch {
    /// The future as an `Option`, which is `None` if the guard says no.
    fn make(&self, names: &Names, support: &TokenStream) -> TokenStream {
        let (guard, expression) = (&names.guard, &self.future);
        // An expression that is no future is the fault of the expression.
        let made = quote_spanned! {expression.span()=>
            #support::future(#expression)
        };
        match &self.guard {
            None => quote!(::core::option::Option::Some(#made)),
            Some(_) => quote_spanned! {Span::mixed_site()=>
                if #guard {
                    ::core::option::Option::Some(#made)
                } else {
                    ::core::option::Option::None
                }
            },
        }
    }

    /// The arm that polls the branch of this number.
    fn poll(
        &self,
        number: usize,
        names: &Names,
        selected: &Ident,
        support: &TokenStream,
    ) -> TokenStream {
        let Names {
            variant, future, ..
        } = names;
        let pattern = &self.pattern;
        quote_spanned! {Span::mixed_site()=>
            #number => match #support::poll(#future.as_mut(), context) {
                #[allow(unused_mut)]
                #support::Step::Selected(mut output) => {
                    let mut fits = false;
                    #[allow(unused_mut, unused_variables, clippy::all, clippy::pedantic)]
                    match output {
                        #pattern if {
                            fits = true;
                            false
                        } => #support::no_fit(),
                        _ => {}
                    }
                    if fits {
                        #support::Step::Selected(#selected::#variant(output))
                    } else {
                        #support::Step::Disabled
                    }
                }
                #support::Step::Pending => #support::Step::Pending,
                #support::Step::Disabled => #support::Step::Disabled,
            },
        }
    }
}
