// @anthropic-ai/sdk, newest 0.x.
import Anthropic from 'anthropic-sdk-0';
import { serveOfficial } from './official.mjs';

await serveOfficial(Anthropic);
