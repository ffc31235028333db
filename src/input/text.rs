//! Tokenization of texts: fills the inputs for token ids, mask, types and positions, which are recognized by their names.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use dlbc_ops::program::InputInfo;
use dlbc_ops::tensor::{DType, Tensor};
use tokenizers::models::ModelWrapper;
use tokenizers::{Encoding, PaddingParams, PaddingStrategy, Tokenizer, TruncationParams};

use super::sources::{TextOptions, TextSource};
use super::text_source;
use super::texts::{Loss, Texts, Token};
use super::{fit, npy};
use crate::content::{Content, content};
use crate::error::{Error, Result, ResultExt};
use crate::notes::Notes;
use crate::remedy::Remedy;
use crate::wording::visible;

/// Largest size of a tokenizer file, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// The role of an input that texts fill.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TextInput {
    /// Token ids.
    Ids,
    /// Attention mask.
    Mask,
    /// Segment of each token.
    Types,
    /// Position of each token among the unmasked ones.
    Positions,
}

/// Returns the role of an input by its usual names; `None` for other inputs.
fn text_input(name: &str) -> Option<TextInput> {
    let name = name.rsplit(['/', '.']).next().unwrap_or(name);
    Some(match name.split(':').next().unwrap_or(name) {
        "input_ids" | "ids" | "tokens" | "input_word_ids" => TextInput::Ids,
        "attention_mask" | "input_mask" | "mask" => TextInput::Mask,
        "token_type_ids" | "segment_ids" | "input_type_ids" => TextInput::Types,
        "position_ids" => TextInput::Positions,
        _ => return None,
    })
}

/// Encodes the first `limit` texts. Returns them with their tokens, and the tensors by input.
///
/// # Errors
/// When a text cannot be read, the tokenizer is missing or damaged, or the model has no input of token ids.
pub fn read(
    infos: &[InputInfo],
    sources: &[TextSource],
    options: &TextOptions,
    limit: usize,
    notes: &dyn Notes,
) -> Result<(Texts, BTreeMap<String, Tensor>)> {
    let ids = ids_input(infos)?;
    let path = tokenizer_path(options)?;
    let mut tokenizer = load(&path).with_context(|| format!("`{}`", path.display()))?;
    let sources = text_source::read(sources, limit, notes)?;
    let fixed = ids.ty.dim(ids.ty.rank() - 1).as_known().and_then(|n| usize::try_from(n).ok());
    let lengths = [options.max_length, fixed, tokenizer.get_truncation().map(|t| t.max_length)];
    let encode = |tokenizer: &Tokenizer| {
        let texts: Vec<&str> = sources.iter().map(|s| s.text.as_str()).collect();
        let encoded = tokenizer.encode_batch(texts, !options.no_special_tokens);
        encoded.map_err(|e| Error::invalid(format!("`{}`: {e}", path.display())))
    };
    set_lengths(&mut tokenizer, lengths.into_iter().flatten().min(), fixed)?;
    let encoded = encode(&tokenizer)?;
    set_lengths(&mut tokenizer, None, None)?;
    let untruncated = encode(&tokenizer)?;
    let length = encoded.iter().map(|e| e.len()).max().unwrap_or(0);
    let mut tensors = BTreeMap::new();
    for info in infos {
        let Some(kind) = text_input(&info.name).filter(|_| info.ty.rank() == ids.ty.rank()) else { continue };
        if !info.ty.dtype.is_integer() && info.ty.dtype != DType::Bool && !info.ty.dtype.is_float() {
            continue;
        }
        let values = encoded.iter().flat_map(|e| values(e, kind));
        let dims = if info.ty.rank() == 1 { vec![length] } else { vec![encoded.len(), length] };
        let values: Vec<f64> = values.map(f64::from).collect();
        let tensor = fit::from_f64(info.ty.dtype, &dims, &values)
            .with_context(|| format!("input `{}`", visible(&info.name)))?;
        tensors.insert(info.name.clone(), tensor);
    }
    let unknown = unknown_id(&tokenizer);
    let mask = tensors.keys().find(|name| text_input(name) == Some(TextInput::Mask)).cloned();
    let texts = Texts {
        input: ids.name.clone(),
        names: sources.iter().enumerate().map(|(i, s)| s.name(i)).collect(),
        tokens: encoded.iter().map(|e| tokens(e, unknown)).collect(),
        losses: (sources.iter().zip(&untruncated).zip(&encoded))
            .map(|((source, untruncated), encoded)| Loss::new(&source.text, untruncated, encoded, unknown))
            .collect(),
        texts: sources.into_iter().map(|s| s.text).collect(),
        mask,
        pad: tokenizer.get_padding().map_or(0, |p| p.pad_id),
        vocabulary: vocabulary(&tokenizer),
        tokenizer: path,
    };
    Ok((texts, tensors))
}

/// Returns the id of the token for parts of a text that the vocabulary does not have.
fn unknown_id(tokenizer: &Tokenizer) -> Option<u32> {
    let token = match tokenizer.get_model() {
        ModelWrapper::WordLevel(model) => Some(model.unk_token.clone()),
        ModelWrapper::WordPiece(model) => Some(model.unk_token.clone()),
        ModelWrapper::BPE(model) => model.unk_token.clone(),
        ModelWrapper::Unigram(_) => Some("<unk>".into()),
    };
    tokenizer.token_to_id(&token?)
}

/// Returns the size of a tokenizer's vocabulary: its largest id plus 1.
fn vocabulary(tokenizer: &Tokenizer) -> usize {
    tokenizer.get_vocab(true).values().max().map_or(0, |id| *id as usize + 1)
}

/// Returns the model's input of token ids.
fn ids_input(infos: &[InputInfo]) -> Result<&InputInfo> {
    let takes = |i: &&InputInfo| {
        text_input(&i.name) == Some(TextInput::Ids) && i.ty.dtype.is_integer() && matches!(i.ty.rank(), 1 | 2)
    };
    infos.iter().find(takes).ok_or_else(|| {
        let all: Vec<String> = infos.iter().map(|i| format!("`{}` {}", visible(&i.name), i.ty)).collect();
        Error::usage(format!(
            "the model takes no texts: expected an integer input `input_ids` of one or two axes, found {}",
            all.join(", ")
        ))
    })
}

/// Returns the path of the tokenizer: that of the options, or the one beside the model file.
fn tokenizer_path(options: &TextOptions) -> Result<PathBuf> {
    if let Some(path) = &options.tokenizer {
        return Ok(path.clone());
    }
    let beside = options.model.with_file_name("tokenizer.json");
    // Folders of transformers.js have the models in a folder of their own.
    let above = options.model.parent().filter(|folder| folder.ends_with("onnx"));
    let above = above.map(|folder| folder.with_file_name("tokenizer.json"));
    if let Some(file) = [Some(&beside), above.as_ref()].into_iter().flatten().find(|file| file.is_file()) {
        return Ok(file.clone());
    }
    let message = format!("no tokenizer for the texts: expected a file `{}`", beside.display());
    Err(Error::usage(message).with_remedy(Remedy::Tokenizer))
}

/// Loads a tokenizer.
fn load(path: &Path) -> Result<Tokenizer> {
    let mut bytes = vec![];
    let file = File::open(path).map_err(|e| Error::invalid(e.to_string()))?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| Error::invalid(e.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::invalid(format!("the tokenizer is larger than the limit of {MAX_BYTES} bytes")));
    }
    Tokenizer::from_bytes(&bytes).map_err(|e| match content(path) {
        Some(kind) if kind != Content::Json => npy::wrong_content("a tokenizer.json", kind),
        _ => Error::invalid(format!("invalid tokenizer: {e}")),
    })
}

/// Sets truncation to `limit` tokens, and padding to the longest text of a batch or to the model's `fixed` length.
fn set_lengths(tokenizer: &mut Tokenizer, limit: Option<usize>, fixed: Option<usize>) -> Result<()> {
    let truncation = limit.map(|max_length| TruncationParams {
        max_length,
        ..tokenizer.get_truncation().cloned().unwrap_or_default()
    });
    tokenizer.with_truncation(truncation).map_err(|e| {
        Error::usage(format!(
            "invalid length {}: expected more tokens for this tokenizer: {e}",
            limit.unwrap_or(0)
        ))
    })?;
    let padding = tokenizer.get_padding().cloned().unwrap_or_else(|| {
        let known = ["[PAD]", "<pad>", "<|pad|>", "<|endoftext|>", "</s>"];
        let pad = known.iter().find_map(|t| Some(((*t).to_string(), tokenizer.token_to_id(t)?)));
        let (pad_token, pad_id) = pad.unwrap_or(("[PAD]".into(), 0));
        PaddingParams { pad_token, pad_id, ..PaddingParams::default() }
    });
    let strategy = fixed.map_or(PaddingStrategy::BatchLongest, PaddingStrategy::Fixed);
    tokenizer.with_padding(Some(PaddingParams { strategy, ..padding }));
    Ok(())
}

/// Returns the values of an encoded text for an input.
fn values(encoding: &Encoding, kind: TextInput) -> Vec<u32> {
    match kind {
        TextInput::Ids => encoding.get_ids().to_vec(),
        TextInput::Mask => encoding.get_attention_mask().to_vec(),
        TextInput::Types => encoding.get_type_ids().to_vec(),
        // Positions count the unmasked tokens.
        TextInput::Positions => {
            let mut next = 0;
            encoding
                .get_attention_mask()
                .iter()
                .map(|m| {
                    let position = next;
                    next += m;
                    position
                })
                .collect()
        }
    }
}

/// Returns the tokens of an encoded text; `unknown` is the id of the unknown token.
fn tokens(encoding: &Encoding, unknown: Option<u32>) -> Vec<Token> {
    let fields = encoding.get_tokens().iter().zip(encoding.get_ids()).zip(encoding.get_offsets());
    let flags = encoding.get_special_tokens_mask().iter().zip(encoding.get_attention_mask());
    fields
        .zip(flags)
        .map(|(((text, id), (start, end)), (special, mask))| Token {
            text: text.clone(),
            id: *id,
            span: *start..*end,
            special: *special == 1,
            padding: *mask == 0,
            unknown: *special == 0 && Some(*id) == unknown,
        })
        .collect()
}
